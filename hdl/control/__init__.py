"""hdl/control"""
