# A card with DDR4 channels behind controllers of their own, and PCI Express. The channels follow each other in the
# address map; engines reach those of their memory, the host all.

source [file join $here pcie.tcl]

add_host
set reset [board_reset [fact reset_interface]]
set memory_reset [inverted memory_reset $reset]

# the n-th controller, with its board interfaces; its clock is a quarter of the DRAM's
proc add_controller {n} {
    global memory_reset
    set dram [format [fact memory_interface] $n]
    set clock [format [fact memory_clock_interface] $n]
    board_bus Master ddr4 $dram
    board_clock $clock [fact memory_clock_mhz]
    cell ddr4 ddr4_$n [list C0_DDR4_BOARD_INTERFACE $dram C0_CLOCK_BOARD_INTERFACE $clock \
        RESET_BOARD_INTERFACE [fact reset_interface] ADDN_UI_CLKOUT1_FREQ_HZ 100]
    connect_bd_intf_net [get_bd_intf_pins ddr4_$n/C0_DDR4] [get_bd_intf_ports $dram]
    connect_bd_intf_net [get_bd_intf_ports $clock] [get_bd_intf_pins ddr4_$n/C0_SYS_CLK]
    wire $memory_reset ddr4_$n/sys_rst
    wire [inverted ddr4_reset_$n [get_bd_pins ddr4_$n/c0_ddr4_ui_clk_sync_rst]] ddr4_$n/c0_ddr4_aresetn
}

foreach memory [fact memories] {
    foreach n [channels $memory] {
        add_controller $n
    }
}
add_machine ddr4_0/addn_ui_clkout1 host/axi_aresetn
smartconnect control host/M_AXI_LITE lpu/s_axil host/axi_aclk
assign_control host/M_AXI_LITE

# the host's way to each memory; if there is one only, it needs no fork
set count [llength [fact memories]]
set ways host/M_AXI
if {$count > 1} {
    smartconnect_cell fork 1 $count host/axi_aclk
    bus host/M_AXI fork/S00_AXI
    set ways {}
    for {set n 0} {$n < $count} {incr n} {
        lappend ways fork/[format M%02d_AXI $n]
    }
}
foreach memory [fact memories] way $ways {
    set masters [engine_buses [dict get $memory engines]]
    set slaves {}
    set clocks host/axi_aclk
    foreach n [channels $memory] {
        lappend slaves ddr4_$n/C0_DDR4_S_AXI
        lappend clocks ddr4_$n/c0_ddr4_ui_clk
    }
    smartconnect memory_[dict get $memory first] [concat $masters $way] $slaves $clocks
    foreach n [channels $memory] {
        foreach master [concat $masters host/M_AXI] {
            assign_channel $master ddr4_$n/C0_DDR4_MEMORY_MAP/C0_DDR4_ADDRESS_BLOCK $n
        }
    }
}
