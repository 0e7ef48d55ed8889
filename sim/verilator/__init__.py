"""sim/verilator"""
