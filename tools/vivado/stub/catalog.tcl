# What the cells of a design have: pins {direction, must be connected}, interfaces {mode, type, clock pins}, properties.
# It covers what these scripts may use of each IP, with the names of its product guide.

# IP → patterns of its properties
set catalog_properties {
    zynq_ultra_ps_e {PSU__USE__M_AXI_GP[0-2] PSU__USE__S_AXI_GP[0-6] PSU__MAXIGP[0-2]__DATA_WIDTH
        PSU__SAXIGP[0-6]__DATA_WIDTH PSU__FPGA_PL[0-3]_ENABLE PSU__CRL_APB__PL[0-3]_REF_CTRL__FREQMHZ
        PSU__USE__FABRIC__RST}
    smartconnect {NUM_SI NUM_MI NUM_CLKS}
    clk_wiz {PRIM_SOURCE USE_RESET USE_LOCKED CLKOUT1_REQUESTED_OUT_FREQ}
    clk_wizard {PRIM_SOURCE USE_RESET USE_LOCKED CLKOUT_USED CLKOUT_REQUESTED_OUT_FREQUENCY}
    proc_sys_reset {}
    util_ds_buf {C_BUF_TYPE USE_BOARD_FLOW DIFF_CLK_IN_BOARD_INTERFACE}
    util_vector_logic {C_OPERATION C_SIZE}
    xdma {mode_selection xdma_axi_intf_mm xdma_pcie_64bit_en pl_link_cap_max_link_width pl_link_cap_max_link_speed
        axi_data_width axisten_freq axilite_master_en axilite_master_scale axilite_master_size PCIE_BOARD_INTERFACE
        SYS_RST_N_BOARD_INTERFACE}
    ddr4 {C0_DDR4_BOARD_INTERFACE C0_CLOCK_BOARD_INTERFACE RESET_BOARD_INTERFACE ADDN_UI_CLKOUT1_FREQ_HZ}
    hbm {USER_HBM_DENSITY USER_HBM_STACK USER_APB_EN USER_SWITCH_ENABLE_0[01] USER_HBM_REF_CLK_[01] USER_AXI_CLK_FREQ
        USER_AXI_CLK1_FREQ USER_AXI_INPUT_CLK_FREQ USER_AXI_INPUT_CLK_NS USER_AXI_INPUT_CLK_PS USER_AXI_INPUT_CLK_XDC
        USER_AXI_INPUT_CLK1_FREQ USER_AXI_INPUT_CLK1_NS USER_AXI_INPUT_CLK1_PS USER_AXI_INPUT_CLK1_XDC
        USER_MC_ENABLE_[01][0-9] USER_SAXI_[0-3][0-9] USER_CLK_SEL_LIST[01]}
    versal_cips {CPM_CONFIG PS_PMC_CONFIG}
    axi_noc {NUM_SI NUM_MI NUM_CLKS NUM_HBM_BLI HBM_NUM_CHNL HBM_REF_CLK_SELECTION}
}

# what can be set on pins, interfaces and ports of the design
set object_properties {CATEGORY CONNECTIONS APERTURES ASSOCIATED_BUSIF FREQ_HZ POLARITY}

proc numbered {format count} {
    set found {}
    for {set n 0} {$n < $count} {incr n} {
        lappend found [format $format $n]
    }
    return $found
}

# pins of a cell of `ip` with these properties: name → {direction needed}
proc catalog_pins {ip properties} {
    set in {}
    set out {}
    switch $ip {
        zynq_ultra_ps_e {
            set out {pl_clk0 pl_resetn0}
            if {[property $properties PSU__USE__M_AXI_GP0 1]} {
                lappend in maxihpm0_fpd_aclk
            }
            foreach {name number} {hp0 2 hp1 3 hp2 4 hp3 5 hpc0 0 hpc1 1} {
                if {[property $properties PSU__USE__S_AXI_GP$number 0]} {
                    lappend in saxi${name}_fpd_aclk
                }
            }
        }
        smartconnect {
            set in {aclk aresetn}
            for {set n 1} {$n < [property $properties NUM_CLKS 1]} {incr n} {
                lappend in aclk$n
            }
        }
        clk_wiz - clk_wizard {
            set in clk_in1
            set out {clk_out1 locked}
        }
        proc_sys_reset {
            set in {slowest_sync_clk ext_reset_in dcm_locked}
            set out {peripheral_reset peripheral_aresetn interconnect_aresetn}
        }
        util_ds_buf {
            switch [property $properties C_BUF_TYPE IBUFDS] {
                IBUFDSGTE {set out {IBUF_OUT IBUF_DS_ODIV2}}
                IBUFDS {set out IBUF_OUT}
                BUFG {set in BUFG_I; set out BUFG_O}
            }
        }
        util_vector_logic {
            set in [expr {[property $properties C_OPERATION and] eq "not" ? "Op1" : "Op1 Op2"}]
            set out Res
        }
        xdma {
            set in {sys_clk sys_clk_gt sys_rst_n}
            set out {axi_aclk axi_aresetn}
        }
        ddr4 {
            set in {sys_rst c0_ddr4_aresetn}
            set out {c0_ddr4_ui_clk c0_ddr4_ui_clk_sync_rst c0_init_calib_complete}
            if {[property $properties ADDN_UI_CLKOUT1_FREQ_HZ none] ne "none"} {
                lappend out addn_ui_clkout1
            }
        }
        hbm {
            set in {HBM_REF_CLK_0 HBM_REF_CLK_1 APB_0_PCLK APB_1_PCLK APB_0_PRESET_N APB_1_PRESET_N}
            set out {DRAM_0_STAT_CATTRIP DRAM_1_STAT_CATTRIP}
            foreach n [numbered %02d 32] {
                if {[property $properties USER_SAXI_$n true]} {
                    lappend in AXI_${n}_ACLK AXI_${n}_ARESET_N
                }
            }
        }
        versal_cips {
            set in {dma1_intrfc_clk dma1_intrfc_resetn}
            set out {pl0_ref_clk pl2_ref_clk pl0_resetn cpm_pcie_noc_axi0_clk cpm_pcie_noc_axi1_clk
                pmc_axi_noc_axi0_clk}
        }
        axi_noc {
            set in [numbered aclk%d [property $properties NUM_CLKS 1]]
        }
        default {
            error "unknown IP $ip"
        }
    }
    set found {}
    foreach pin $in {
        dict set found $pin {input 1}
    }
    foreach pin $out {
        dict set found $pin {output 0}
    }
    return $found
}

# interfaces of a cell of `ip`: name → {mode type {clock pins}}; without clocks it meets whatever it is given
proc catalog_buses {ip properties} {
    set found {}
    switch $ip {
        zynq_ultra_ps_e {
            if {[property $properties PSU__USE__M_AXI_GP0 1]} {
                dict set found M_AXI_HPM0_FPD {master aximm maxihpm0_fpd_aclk}
            }
            foreach {name number} {HP0 2 HP1 3 HP2 4 HP3 5 HPC0 0 HPC1 1} {
                if {[property $properties PSU__USE__S_AXI_GP$number 0]} {
                    dict set found S_AXI_${name}_FPD [list slave aximm saxi[string tolower $name]_fpd_aclk]
                }
            }
        }
        smartconnect {
            set clocks aclk
            for {set n 1} {$n < [property $properties NUM_CLKS 1]} {incr n} {
                lappend clocks aclk$n
            }
            foreach bus [numbered S%02d_AXI [property $properties NUM_SI 1]] {
                dict set found $bus [list slave aximm $clocks]
            }
            foreach bus [numbered M%02d_AXI [property $properties NUM_MI 1]] {
                dict set found $bus [list master aximm $clocks]
            }
        }
        util_ds_buf {
            if {[property $properties C_BUF_TYPE IBUFDS] ne "BUFG"} {
                dict set found CLK_IN_D {slave diff_clock {}}
            }
        }
        xdma {
            dict set found M_AXI {master aximm axi_aclk}
            dict set found pcie_mgt {master pcie_7x_mgt {}}
            if {[property $properties axilite_master_en false]} {
                dict set found M_AXI_LITE {master aximm axi_aclk}
            }
        }
        ddr4 {
            dict set found C0_DDR4 {master ddr4 {}}
            dict set found C0_SYS_CLK {slave diff_clock {}}
            dict set found C0_DDR4_S_AXI {slave aximm c0_ddr4_ui_clk}
        }
        hbm {
            foreach n [numbered %02d 32] {
                if {[property $properties USER_SAXI_$n true]} {
                    dict set found SAXI_${n}_8HI [list slave aximm AXI_${n}_ACLK]
                }
            }
        }
        versal_cips {
            dict set found CPM_PCIE_NOC_0 {master aximm cpm_pcie_noc_axi0_clk}
            dict set found CPM_PCIE_NOC_1 {master aximm cpm_pcie_noc_axi1_clk}
            dict set found PMC_NOC_AXI_0 {master aximm pmc_axi_noc_axi0_clk}
            dict set found PCIE1_GT {master gt {}}
            dict set found gt_refclk1 {slave diff_clock {}}
        }
        axi_noc {
            set clocks [numbered aclk%d [property $properties NUM_CLKS 1]]
            foreach bus [concat [numbered S%02d_AXI [property $properties NUM_SI 1]] \
                             [numbered HBM%02d_AXI [property $properties NUM_HBM_BLI 0]]] {
                dict set found $bus [list slave aximm $clocks]
            }
            foreach bus [numbered M%02d_AXI [property $properties NUM_MI 1]] {
                dict set found $bus [list master aximm $clocks]
            }
        }
    }
    return $found
}

# widest data that an interface takes as it is, and whether bursts are those of AXI3; 0: it converts
proc catalog_width {ip bus properties} {
    switch -glob $ip/$bus {
        zynq_ultra_ps_e/S_AXI_* {
            set number [dict get {HP0 2 HP1 3 HP2 4 HP3 5 HPC0 0 HPC1 1} [string range $bus 6 end-4]]
            return [property $properties PSU__SAXIGP${number}__DATA_WIDTH 128]
        }
        axi_noc/HBM* {return 256}
        ddr4/* {return 512}
        hbm/* {return 256}
        default {return 0}
    }
}

proc property {properties name default} {
    return [expr {[dict exists $properties $name] ? [dict get $properties $name] : $default}]
}
