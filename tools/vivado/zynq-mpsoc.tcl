# Zynq UltraScale+ MPSoC. The registers are at M_AXI_HPM0_FPD; engines are at the HP and HPC ports, which lead to the DDR
# of the processing system. All engines share it: addresses are physical, and the driver sets the DMA window to a buffer
# that it has reserved. The ports are not coherent: the driver flushes its caches.

# the ports, best first, and the number that each has among the slave ports of the IP (PG201)
set slaves {HP0 2 HP1 3 HP2 4 HP3 5 HPC0 0 HPC1 1}

set ps [cell zynq_ultra_ps_e ps]
apply_bd_automation -rule xilinx.com:bd_rule:zynq_ultra_ps_e -config {apply_board_preset 1} $ps
configure $ps {
    PSU__USE__M_AXI_GP0 1
    PSU__USE__M_AXI_GP1 0
    PSU__USE__M_AXI_GP2 0
    PSU__MAXIGP0__DATA_WIDTH 32
    PSU__FPGA_PL0_ENABLE 1
    PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ 100
    PSU__USE__FABRIC__RST 1
}
add_machine ps/pl_clk0 ps/pl_resetn0

wire clock/clk_out1 ps/maxihpm0_fpd_aclk
smartconnect control ps/M_AXI_HPM0_FPD lpu/s_axil
assign_control ps/Data

# DDR: 2 GiB at 0, the rest at 32 GiB (UG1085, system address map)
set low [expr {min([fact memory_bytes], 0x80000000)}]
set high [expr {[fact memory_bytes] - $low}]

dict for {port engines} [engines_by_port] {
    set name [lindex $slaves [expr {2 * $port}]]
    set number [lindex $slaves [expr {2 * $port + 1}]]
    # one engine of a width that the port can have meets it directly
    set direct [expr {[llength $engines] == 1 && [fact beat_bits] <= [fact port_bits]}]
    set width [expr {$direct ? [fact beat_bits] : [fact port_bits]}]
    configure $ps [list PSU__USE__S_AXI_GP$number 1 PSU__SAXIGP${number}__DATA_WIDTH $width]
    wire clock/clk_out1 ps/saxi[string tolower $name]_fpd_aclk
    if {$direct} {
        bus [engine_bus [lindex $engines 0]] ps/S_AXI_${name}_FPD
    } else {
        smartconnect memory_$port [engine_buses $engines] ps/S_AXI_${name}_FPD
    }
    foreach engine $engines {
        assign [engine_bus $engine] ps/SAXIGP$number/${name}_DDR_LOW 0 $low
        if {$high} {
            assign [engine_bus $engine] ps/SAXIGP$number/${name}_DDR_HIGH 0x800000000 $high
        }
    }
}
