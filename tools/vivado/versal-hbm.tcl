# A Versal device with HBM2e: CIPS with PCI Express and DMA, and the NoC to the HBM. A controller has four ports, two for
# each of its pseudo-channels; an engine is at a port that leads straight to the channels of its memory. The host finds
# memory and registers through the same NoC.

set pcie {
    CPM_PCIE0_MODES None
    CPM_PCIE1_MODES DMA
    CPM_PCIE1_FUNCTIONAL_MODE QDMA
    CPM_PCIE1_MODE_SELECTION Advanced
    CPM_PCIE1_MAX_LINK_SPEED 32.0_GT/s
    CPM_PCIE1_PL_LINK_CAP_MAX_LINK_WIDTH X8
    CPM_PCIE1_PF0_BASE_CLASS_VALUE 12
    CPM_PCIE1_PF0_SUB_CLASS_VALUE 00
    CPM_PCIE1_PF0_BAR0_QDMA_TYPE DMA
    CPM_PCIE1_PF0_BAR0_QDMA_64BIT 1
    CPM_PCIE1_PF0_BAR0_QDMA_ENABLED 1
    CPM_PCIE1_PF0_BAR0_QDMA_SCALE Kilobytes
    CPM_PCIE1_PF0_BAR0_QDMA_SIZE 512
    CPM_PCIE1_PF0_BAR2_QDMA_TYPE AXI_Bridge_Master
    CPM_PCIE1_PF0_BAR2_QDMA_64BIT 1
    CPM_PCIE1_PF0_BAR2_QDMA_ENABLED 1
    CPM_PCIE1_PF0_BAR2_QDMA_SCALE Megabytes
    CPM_PCIE1_PF0_BAR2_QDMA_SIZE 1
}
# the second BAR is a window on the registers
lappend pcie CPM_PCIE1_PF0_PCIEBAR2AXIBAR_QDMA_2 [format 0x%016llx [fact control_base]]
cell versal_cips cips [list CPM_CONFIG $pcie PS_PMC_CONFIG {
    CLOCK_MODE Custom
    DESIGN_MODE 1
    IO_CONFIG_MODE Custom
    PS_PL_CONNECTIVITY_MODE Custom
    PCIE_APERTURES_SINGLE_ENABLE 1
    PMC_CRP_PL0_REF_CTRL_FREQMHZ 100
    PMC_CRP_PL2_REF_CTRL_FREQMHZ 250
    PMC_USE_PMC_NOC_AXI0 1
    PS_BOARD_INTERFACE ps_pmc_fixed_io
    PS_NUM_FABRIC_RESETS 1
    PS_PCIE1_PERIPHERAL_ENABLE 0
    PS_PCIE2_PERIPHERAL_ENABLE 1
    PS_PCIE_EP_RESET2_IO {PMC_MIO 25}
    PS_PCIE_RESET {{ENABLE 1}}
    PS_USE_PMCPL_CLK0 1
    PS_USE_PMCPL_CLK2 1
}]
connect_bd_intf_net [board_clock gt_pcie_refclk 100] [get_bd_intf_pins cips/gt_refclk1]
connect_bd_intf_net [get_bd_intf_pins cips/PCIE1_GT] [board_bus Master gt gt_pciea1]
add_machine cips/pl0_ref_clk cips/pl0_resetn
wire cips/pl2_ref_clk cips/dma1_intrfc_clk
wire cips/pl0_resetn cips/dma1_intrfc_resetn

set engines [fact engines]
cell axi_noc noc [list NUM_SI 3 NUM_MI 1 NUM_CLKS 4 NUM_HBM_BLI $engines HBM_NUM_CHNL 16 \
    HBM_REF_CLK_SELECTION Internal]
bus cips/CPM_PCIE_NOC_0 noc/S00_AXI
bus cips/CPM_PCIE_NOC_1 noc/S01_AXI
bus cips/PMC_NOC_AXI_0 noc/S02_AXI
wire cips/cpm_pcie_noc_axi0_clk noc/aclk0
wire cips/cpm_pcie_noc_axi1_clk noc/aclk1
wire cips/pmc_axi_noc_axi0_clk noc/aclk2
wire clock/clk_out1 noc/aclk3
smartconnect control noc/M00_AXI lpu/s_axil

# port `side` (0 or 1) of pseudo-channel n, and what is asked of it in MB/s
proc noc_path {n side read write} {
    return [list HBM[expr {$n / 2}]_PORT[expr {$n % 2 * 2 + $side}] \
        [list read_bw $read write_bw $write read_avg_burst 4 write_avg_burst 4]]
}

# the host: all channels from either of its ports, and the registers
foreach {slave side category} {S00_AXI 0 ps_pcie S01_AXI 1 ps_pcie S02_AXI 0 ps_pmc} {
    set paths {M00_AXI {read_bw 5 write_bw 5 read_avg_burst 4 write_avg_burst 4}}
    for {set n 0} {$n < [fact memory_channels]} {incr n} {
        lappend paths {*}[noc_path $n $side 250 250]
    }
    configure [get_bd_intf_pins noc/$slave] [list CATEGORY $category CONNECTIONS $paths]
}
configure [get_bd_intf_pins noc/M00_AXI] \
    [list CATEGORY pl APERTURES [list [list [format 0x%llx [fact control_base]] 1M]]]

# An engine: its port's own pseudo-channel at full rate, the others of its memory as it needs. A port carries 256 bits
# in each of its 400 MHz, 12800 MB/s; a wider engine goes through a SmartConnect, at that rate.
set rate [expr {int(min([fact beat_bits] / 8 * [fact clock_mhz], 12800))}]
set associated M00_AXI
foreach memory [fact memories] {
    foreach engine [dict get $memory engines] {
        set slave [format HBM%02d_AXI $engine]
        append associated :$slave
        set port [lindex [fact ports] $engine]
        set paths {}
        foreach n [channels $memory] {
            lappend paths {*}[noc_path $n [expr {$port % 2}] [expr {$n == $port / 2 ? $rate : 250}] 250]
        }
        configure [get_bd_intf_pins noc/$slave] [list CATEGORY pl_hbm CONNECTIONS $paths]
        if {[fact beat_bits] <= [fact port_bits]} {
            bus [engine_bus $engine] noc/$slave
        } else {
            smartconnect memory_$engine [engine_bus $engine] noc/$slave
        }
        foreach n [channels $memory] {
            assign_channel [engine_bus $engine] noc/$slave/HBM[expr {$n / 2}]_PC[expr {$n % 2}] $n
        }
    }
}
foreach {number buses} [list 0 S00_AXI 1 S01_AXI 2 S02_AXI 3 $associated] {
    configure [get_bd_pins noc/aclk$number] [list ASSOCIATED_BUSIF $buses]
}
foreach {space slave} {cips/CPM_PCIE_NOC_0 S00_AXI cips/CPM_PCIE_NOC_1 S01_AXI cips/PMC_NOC_AXI_0 S02_AXI} {
    assign_control $space
    for {set n 0} {$n < [fact memory_channels]} {incr n} {
        assign_channel $space noc/$slave/HBM[expr {$n / 2}]_PC[expr {$n % 2}] $n
    }
}
