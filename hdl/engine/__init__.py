"""hdl/engine"""
