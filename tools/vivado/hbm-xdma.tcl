# A card with HBM2 in the FPGA's package, and PCI Express. Engines are at ports of the HBM that lead straight to the
# channels of their memory; the host reaches all channels through the switch of the HBM, from a port that is free.

source [file join $here pcie.tcl]

add_host
set clock [board_clock [fact memory_clock_interface] [fact memory_clock_mhz]]
cell util_ds_buf memory_clock {C_BUF_TYPE IBUFDS}
connect_bd_intf_net $clock [get_bd_intf_pins memory_clock/CLK_IN_D]
cell util_ds_buf memory_clock_global {C_BUF_TYPE BUFG}
wire memory_clock/IBUF_OUT memory_clock_global/BUFG_I
add_machine memory_clock_global/BUFG_O host/axi_aresetn
smartconnect control host/M_AXI_LITE lpu/s_axil host/axi_aclk
assign_control host/M_AXI_LITE

# the masters of each port; the host has the last one without an engine, or shares the last
set masters {}
dict for {port engines} [engines_by_port] {
    dict set masters $port [engine_buses $engines]
}
set host_port [expr {[fact memory_ports] - 1}]
for {set port $host_port} {$port >= 0} {incr port -1} {
    if {![dict exists $masters $port]} {
        set host_port $port
        break
    }
}
dict lappend masters $host_port host/M_AXI

# both stacks with all their controllers; the AXI clock of a stack is that of its first port in use
set mhz [format %g [fact clock_mhz]]
set reference [format %g [fact memory_clock_mhz]]
set period [expr {1000.0 / $mhz}]
set properties [list USER_HBM_DENSITY [expr {[fact memory_bytes] >> 30}]GB USER_HBM_STACK 2 USER_APB_EN false \
    USER_SWITCH_ENABLE_00 TRUE USER_SWITCH_ENABLE_01 TRUE USER_HBM_REF_CLK_0 $reference USER_HBM_REF_CLK_1 $reference \
    USER_AXI_CLK_FREQ $mhz USER_AXI_CLK1_FREQ $mhz]
foreach clock {CLK CLK1} {
    lappend properties USER_AXI_INPUT_${clock}_FREQ $mhz USER_AXI_INPUT_${clock}_NS [format %.3f $period] \
        USER_AXI_INPUT_${clock}_PS [expr {round(1000 * $period)}] USER_AXI_INPUT_${clock}_XDC [format %.3f $period]
}
for {set n 0} {$n < 16} {incr n} {
    lappend properties [format USER_MC_ENABLE_%02d $n] TRUE
}
for {set port 0} {$port < [fact memory_ports]} {incr port} {
    lappend properties [format USER_SAXI_%02d $port] [expr {[dict exists $masters $port] ? "true" : "false"}]
}
foreach stack {0 1} {
    for {set port [expr {16 * $stack}]} {$port < 16 * $stack + 16} {incr port} {
        if {[dict exists $masters $port]} {
            lappend properties USER_CLK_SEL_LIST$stack [format AXI_%02d_ACLK $port]
            break
        }
    }
}
cell hbm hbm $properties
wire memory_clock_global/BUFG_O hbm/HBM_REF_CLK_0 hbm/HBM_REF_CLK_1 hbm/APB_0_PCLK hbm/APB_1_PCLK
wire host/axi_aresetn hbm/APB_0_PRESET_N hbm/APB_1_PRESET_N

# a card switches itself off when the HBM is too hot
cell util_vector_logic hot {C_OPERATION or C_SIZE 1}
wire hbm/DRAM_0_STAT_CATTRIP hot/Op1
wire hbm/DRAM_1_STAT_CATTRIP hot/Op2
connect_bd_net [get_bd_pins hot/Res] [create_bd_port -dir O hbm_cattrip]

# The ports are AXI3: a SmartConnect cuts bursts to 16 beats. The names of the interfaces depend on the density.
dict for {port buses} $masters {
    wire clock/clk_out1 hbm/[format AXI_%02d_ACLK $port]
    wire reset/peripheral_aresetn hbm/[format AXI_%02d_ARESET_N $port]
    set clocks [expr {"host/M_AXI" in $buses ? "host/axi_aclk" : {}}]
    smartconnect memory_$port $buses hbm/[format SAXI_%02d* $port] $clocks
}
foreach memory [fact memories] {
    foreach engine [dict get $memory engines] {
        set port [lindex [fact ports] $engine]
        foreach n [channels $memory] {
            assign_channel [engine_bus $engine] hbm/[format SAXI_%02d*/HBM_MEM%02d $port $n] $n
        }
    }
}
for {set n 0} {$n < [fact memory_channels]} {incr n} {
    assign_channel host/M_AXI hbm/[format SAXI_%02d*/HBM_MEM%02d $host_port $n] $n
}
