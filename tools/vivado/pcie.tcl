# A PCI Express endpoint with DMA, `host`: M_AXI to the memory, M_AXI_LITE (its first BAR) to the registers.

# Needs the ports of the board that machine.tcl names. The host's clock is host/axi_aclk.
proc add_host {} {
    board_bus Master pcie_7x_mgt [fact pcie_interface]
    board_clock [fact pcie_clock_interface] 100
    set reset [board_reset [fact pcie_reset_interface]]
    cell util_ds_buf pcie_clock [list C_BUF_TYPE IBUFDSGTE USE_BOARD_FLOW true \
        DIFF_CLK_IN_BOARD_INTERFACE [fact pcie_clock_interface]]
    cell xdma host [list mode_selection Advanced xdma_axi_intf_mm AXI_Memory_Mapped xdma_pcie_64bit_en true \
        pl_link_cap_max_link_width X[fact pcie_lanes] pl_link_cap_max_link_speed 8.0_GT/s axisten_freq 250 \
        axi_data_width [expr {32 * [fact pcie_lanes]}]_bit \
        axilite_master_en true axilite_master_scale Kilobytes axilite_master_size 64 \
        PCIE_BOARD_INTERFACE [fact pcie_interface] SYS_RST_N_BOARD_INTERFACE [fact pcie_reset_interface]]
    connect_bd_intf_net [get_bd_intf_ports [fact pcie_clock_interface]] [get_bd_intf_pins pcie_clock/CLK_IN_D]
    connect_bd_intf_net [get_bd_intf_pins host/pcie_mgt] [get_bd_intf_ports [fact pcie_interface]]
    wire pcie_clock/IBUF_DS_ODIV2 host/sys_clk
    wire pcie_clock/IBUF_OUT host/sys_clk_gt
    connect_bd_net $reset [get_bd_pins host/sys_rst_n]
}
