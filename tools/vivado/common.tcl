# Paths, and the steps that the other scripts share. They run in any folder; results go to build/ beside them.
# Plain Tcl 8.5: older versions of Vivado have no newer one.

set here [file normalize [file dirname [info script]]]
set root [file dirname $here]
set build [file join $root build]
source [file join $here machine.tcl]
if {[info exists env(PART)]} {
    dict set machine part $env(PART)
}
if {[dict get $machine part] eq ""} {
    error "the machine is for no part in particular: name one in the environment variable PART"
}

# a fact from machine.tcl
proc fact {name} {
    global machine
    return [dict get $machine $name]
}

# the machine's Verilog, with its full paths
proc sources {} {
    global root
    set found {}
    foreach name [fact sources] {
        lappend found [file join $root $name]
    }
    return $found
}

# set properties of an object of a block design; `CONFIG.` is left out of their names
proc configure {object properties} {
    set full {}
    foreach {name value} $properties {
        lappend full CONFIG.$name $value
    }
    set_property -dict $full $object
}

# a cell of the newest version of an IP of Vivado's catalog
proc cell {ip name {properties {}}} {
    set made [create_bd_cell -type ip -vlnv xilinx.com:ip:$ip:* $name]
    if {[llength $properties]} {
        configure $made $properties
    }
    return $made
}

# a wire from the pin `driver` to other pins
proc wire {driver args} {
    set pins {}
    foreach pin $args {
        lappend pins [get_bd_pins $pin]
    }
    connect_bd_net [get_bd_pins $driver] {*}$pins
}

# a bus from a master's interface to a slave's
proc bus {master slave} {
    connect_bd_intf_net [get_bd_intf_pins $master] [get_bd_intf_pins $slave]
}

# an interface of the board as a port of the design; its name is that of the board files
proc board_bus {mode type name {properties {}}} {
    set port [create_bd_intf_port -mode $mode -vlnv xilinx.com:interface:${type}_rtl:1.0 $name]
    if {[llength $properties]} {
        configure $port $properties
    }
    return $port
}

# a differential clock of the board as a port of the design
proc board_clock {name mhz} {
    return [board_bus Slave diff_clock $name [list FREQ_HZ [expr {round(1e6 * $mhz)}]]]
}

# an active-low reset of the board as a port of the design
proc board_reset {name} {
    set port [create_bd_port -dir I -type rst $name]
    configure $port {POLARITY ACTIVE_LOW}
    return $port
}

# a cell `name` that inverts the pin `source`; returns its output
proc inverted {name source} {
    cell util_vector_logic $name {C_OPERATION not C_SIZE 1}
    connect_bd_net $source [get_bd_pins $name/Op1]
    return $name/Res
}

# The machine, its clock from the free-running `source` of 100 MHz, and its reset from the active-low `reset_n`.
# Everything else on this clock takes clock/clk_out1 and reset/peripheral_aresetn.
proc add_machine {source reset_n} {
    create_bd_cell -type ip -vlnv [fact vlnv] lpu
    if {[fact kind] eq "versal-hbm"} {
        cell clk_wizard clock [list PRIM_SOURCE No_buffer USE_RESET false USE_LOCKED true CLKOUT_USED true \
            CLKOUT_REQUESTED_OUT_FREQUENCY [fact clock_mhz]]
    } else {
        cell clk_wiz clock [list PRIM_SOURCE No_buffer USE_RESET false USE_LOCKED true \
            CLKOUT1_REQUESTED_OUT_FREQ [fact clock_mhz]]
    }
    cell proc_sys_reset reset
    wire $source clock/clk_in1
    wire $reset_n reset/ext_reset_in
    wire clock/locked reset/dcm_locked
    wire clock/clk_out1 reset/slowest_sync_clk lpu/clk
    wire reset/peripheral_reset lpu/rst
}

# A SmartConnect on the machine's clock, and on `clocks`: converts widths and protocols, shares, and crosses clocks.
proc smartconnect_cell {name masters slaves {clocks {}}} {
    cell smartconnect $name [list NUM_SI $masters NUM_MI $slaves NUM_CLKS [expr {1 + [llength $clocks]}]]
    wire clock/clk_out1 $name/aclk
    wire reset/peripheral_aresetn $name/aresetn
    set n 0
    foreach clock $clocks {
        wire $clock $name/aclk[incr n]
    }
}

# the same with its interfaces connected: lists of masters and slaves
proc smartconnect {name masters slaves {clocks {}}} {
    smartconnect_cell $name [llength $masters] [llength $slaves] $clocks
    set n 0
    foreach master $masters {
        bus $master $name/[format S%02d_AXI $n]
        incr n
    }
    set n 0
    foreach slave $slaves {
        bus $name/[format M%02d_AXI $n] $slave
        incr n
    }
}

# interface of an engine
proc engine_bus {engine} {
    return lpu/[format m_axi%02d $engine]
}

# one segment of the address map: `master` finds `segment` at `offset`
proc assign {master segment offset range} {
    assign_bd_address -offset [format 0x%llx $offset] -range [format 0x%llx $range] \
        -target_address_space [get_bd_addr_spaces $master] [get_bd_addr_segs $segment] -force
}

# the channels of the board's memory that one of the machine's memories consists of
proc channels {memory} {
    set found {}
    for {set n 0} {$n < [dict get $memory channels]} {incr n} {
        lappend found [expr {[dict get $memory first] + $n}]
    }
    return $found
}

# the n-th channel in the address map of `master`, as `segment`
proc assign_channel {master segment n} {
    set bytes [expr {[fact memory_bytes] / [fact memory_channels]}]
    assign $master $segment [expr {[fact memory_base] + $n * $bytes}] $bytes
}

# the engines at each port of the board's memory, as a dictionary
proc engines_by_port {} {
    set found {}
    set engine 0
    foreach port [fact ports] {
        dict lappend found $port $engine
        incr engine
    }
    return $found
}

# interfaces of `engines`
proc engine_buses {engines} {
    set found {}
    foreach engine $engines {
        lappend found [engine_bus $engine]
    }
    return $found
}

# the registers, for `master`
proc assign_control {master} {
    assign $master lpu/s_axil/reg0 [fact control_base] [fact control_range]
}
