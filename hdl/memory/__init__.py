"""hdl/memory"""
