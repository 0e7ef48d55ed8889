# The block design as a graph. Cells are /NAME, pins and interfaces /NAME/PIN, ports of the design PORT.

set cells {}        ;# cell → {ip, properties}
set ports {}        ;# port → direction of a wire inside the design, or {mode type} of an interface
set net_of {}       ;# pin → net
set driver_of {}    ;# net → pin
set peer_of {}      ;# interface → the one that it is connected to
set attached {}     ;# properties of pins, interfaces and ports
set segments {}     ;# address space → list of {segment offset range}
set bd_state none   ;# none, open, valid, saved
set core {}         ;# the packaged IP, as save_core has written it

proc create_bd_design {name} {
    global bd_state
    if {$bd_state ne "none"} {
        error "create_bd_design: there is a design already"
    }
    set bd_state open
}

proc create_bd_cell {args} {
    global cells core catalog_properties properties
    lassign [parse create_bd_cell $args {-type -vlnv}] options name
    needs create_bd_cell $options {-type -vlnv}
    if {[dict exists $cells $name]} {
        error "create_bd_cell: there is a cell $name already"
    }
    lassign [split [dict get $options -vlnv] :] vendor library ip version
    if {$vendor ne "xilinx.com"} {
        set in [open [file join [dict get $properties project ip_repo_paths] component.xml]]
        set core [read $in]
        close $in
        if {[dict get $core vlnv] ne [dict get $options -vlnv]} {
            error "create_bd_cell: the repository has [dict get $core vlnv], not [dict get $options -vlnv]"
        }
        set ip core
    } elseif {![dict exists $catalog_properties $ip]} {
        error "create_bd_cell: unknown IP $ip"
    }
    dict set cells $name [list $ip {}]
    return /$name
}

proc apply_bd_automation {args} {
    lassign [parse apply_bd_automation $args {-rule -config}] options object
    needs apply_bd_automation $options {-rule -config}
    find_cell $object
}

proc find_cell {name} {
    global cells
    set name [string trimleft $name /]
    if {![dict exists $cells $name]} {
        error "there is no cell $name"
    }
    return [dict get $cells $name]
}

# name → {direction needed} of all pins; name → {mode type clocks} of all interfaces
proc pins_of {cell} {
    global core
    lassign [find_cell $cell] ip properties
    if {$ip ne "core"} {
        return [catalog_pins $ip $properties]
    }
    set found {}
    dict for {port direction} [dict get $core ports] {
        if {![regexp {^(m_axi\d+|s_axil)_} $port]} {
            dict set found $port [list $direction [expr {$direction eq "input"}]]
        }
    }
    return $found
}

proc buses_of {cell} {
    global core
    lassign [find_cell $cell] ip properties
    if {$ip ne "core"} {
        return [catalog_buses $ip $properties]
    }
    set found {}
    dict for {bus about} [dict get $core buses] {
        if {[dict get $about type] eq "aximm"} {
            set clock {}
            dict for {name other} [dict get $core buses] {
                if {[dict get $other type] eq "clock" &&
                    $bus in [split [dict get $other parameters ASSOCIATED_BUSIF] :]} {
                    set clock $name
                }
            }
            dict set found $bus [list [dict get $about mode] aximm $clock]
        }
    }
    return $found
}

proc lookup {command kind pattern known} {
    lassign [split [string trimleft $pattern /] /] cell name
    set found {}
    foreach candidate [dict keys [$known $cell]] {
        if {[string match $name $candidate]} {
            lappend found /$cell/$candidate
        }
    }
    if {[llength $found] != 1} {
        error "$command: $pattern is [llength $found] ${kind}s of the cell $cell ([lindex [find_cell $cell] 0])"
    }
    return [lindex $found 0]
}

proc get_bd_cells {name} {
    find_cell $name
    return /[string trimleft $name /]
}

proc get_bd_pins {pattern} {
    return [lookup get_bd_pins pin $pattern pins_of]
}

proc get_bd_intf_pins {pattern} {
    return [lookup get_bd_intf_pins interface $pattern buses_of]
}

proc create_bd_port {args} {
    global ports
    lassign [parse create_bd_port $args {-dir -type}] options name
    needs create_bd_port $options -dir
    if {[dict exists $ports $name]} {
        error "create_bd_port: there is a port $name already"
    }
    dict set ports $name [dict get {I output O input} [dict get $options -dir]]
    return $name
}

proc create_bd_intf_port {args} {
    global ports
    lassign [parse create_bd_intf_port $args {-mode -vlnv}] options name
    needs create_bd_intf_port $options {-mode -vlnv}
    if {[dict exists $ports $name]} {
        error "create_bd_intf_port: there is a port $name already"
    }
    if {![regexp {^xilinx.com:interface:(\w+)_rtl:1.0$} [dict get $options -vlnv] all type]} {
        error "create_bd_intf_port: unknown interface [dict get $options -vlnv]"
    }
    dict set ports $name [list [dict get {Master slave Slave master} [dict get $options -mode]] $type]
    return $name
}

proc get_bd_intf_ports {name} {
    global ports
    if {![dict exists $ports $name] || [llength [dict get $ports $name]] != 2} {
        error "get_bd_intf_ports: there is no port $name"
    }
    return $name
}

# -- properties

proc is_design_object {object} {
    global ports
    return [expr {[string match /* $object] || [dict exists $ports $object]}]
}

proc set_design_properties {object pairs} {
    global cells attached catalog_properties object_properties
    set parts [split [string trimleft $object /] /]
    set cell [expr {[string match /* $object] && [llength $parts] == 1}]
    foreach {name value} $pairs {
        if {![regexp {^CONFIG\.(.+)$} $name all name]} {
            error "set_property: $name of $object lacks CONFIG."
        }
        if {!$cell} {
            if {$name ni $object_properties} {
                error "set_property: $object has no property $name"
            }
            dict set attached $object $name $value
            continue
        }
        lassign [find_cell $object] ip properties
        set known 0
        foreach pattern [dict get $catalog_properties $ip] {
            set known [expr {$known || [regexp ^$pattern\$ $name]}]
        }
        if {!$known} {
            error "set_property: $object ($ip) has no property $name"
        }
        if {$value eq ""} {
            error "set_property: $name of $object is empty"
        }
        dict set cells [lindex $parts 0] [list $ip [dict replace $properties $name $value]]
    }
}

# -- connections

proc direction {pin} {
    global ports
    if {![string match /* $pin]} {
        return [dict get $ports $pin]
    }
    lassign [split [string trimleft $pin /] /] cell name
    return [lindex [dict get [pins_of $cell] $name] 0]
}

proc connect_bd_net {args} {
    global net_of driver_of
    if {[llength $args] < 2} {
        error "connect_bd_net: $args is not at least two pins"
    }
    set nets {}
    foreach pin $args {
        if {[dict exists $net_of $pin]} {
            lappend nets [dict get $net_of $pin]
        }
    }
    set nets [lsort -unique $nets]
    if {[llength $nets] > 1} {
        error "connect_bd_net: $args are on different nets already"
    }
    set net [expr {[llength $nets] ? [lindex $nets 0] : "net of [lindex $args 0]"}]
    foreach pin $args {
        if {[direction $pin] eq "output"} {
            if {[dict exists $driver_of $net] && [dict get $driver_of $net] ne $pin} {
                error "connect_bd_net: $pin and [dict get $driver_of $net] drive the same net"
            }
            dict set driver_of $net $pin
        } elseif {[dict exists $net_of $pin] && $pin ne [lindex $args 0]} {
            error "connect_bd_net: $pin is connected already"
        }
        dict set net_of $pin $net
    }
    if {![dict exists $driver_of $net]} {
        error "connect_bd_net: nothing drives $args"
    }
}

# {mode type clocks} of an interface pin or port
proc about_bus {bus} {
    global ports
    if {![string match /* $bus]} {
        return [concat [dict get $ports $bus] {{}}]
    }
    lassign [split [string trimleft $bus /] /] cell name
    return [dict get [buses_of $cell] $name]
}

proc connect_bd_intf_net {args} {
    global peer_of
    if {[llength $args] != 2} {
        error "connect_bd_intf_net: $args are not two interfaces"
    }
    lassign $args one other
    foreach bus $args {
        if {[dict exists $peer_of $bus]} {
            error "connect_bd_intf_net: $bus is connected to [dict get $peer_of $bus] already"
        }
    }
    lassign [about_bus $one] mode type
    lassign [about_bus $other] other_mode other_type
    if {$type ne $other_type || $mode eq $other_mode} {
        error "connect_bd_intf_net: $one is a $type $mode, $other is a $other_type $other_mode"
    }
    dict set peer_of $one $other
    dict set peer_of $other $one
}

# -- addresses

proc get_bd_addr_spaces {name} {
    set bus [get_bd_intf_pins [expr {$name eq "ps/Data" ? "ps/M_AXI_HPM0_FPD" : $name}]]
    if {[lindex [about_bus $bus] 0] ne "master"} {
        error "get_bd_addr_spaces: $name is no master"
    }
    return $bus
}

# a segment stands for the slave interface that it is behind
proc get_bd_addr_segs {name} {
    lassign [split [string trimleft $name /] /] cell bus block
    set ip [lindex [find_cell $cell] 0]
    switch $ip {
        zynq_ultra_ps_e {
            set number [string range $bus end end]
            set port [dict get {2 HP0 3 HP1 4 HP2 5 HP3 0 HPC0 1 HPC1} $number]
            if {![regexp ^${port}_DDR_(LOW|HIGH)\$ $block]} {
                error "get_bd_addr_segs: no segment $name"
            }
            set found [get_bd_intf_pins $cell/S_AXI_${port}_FPD]
        }
        ddr4 {
            if {"$bus/$block" ne "C0_DDR4_MEMORY_MAP/C0_DDR4_ADDRESS_BLOCK"} {
                error "get_bd_addr_segs: no segment $name"
            }
            set found [get_bd_intf_pins $cell/C0_DDR4_S_AXI]
        }
        core - hbm - axi_noc {
            set pattern [dict get {core reg0 hbm {HBM_MEM(0[0-9]|[12][0-9]|3[01])} axi_noc {HBM(\d|1[0-5])_PC[01]}} $ip]
            if {![regexp ^$pattern\$ $block]} {
                error "get_bd_addr_segs: no segment $name"
            }
            set found [get_bd_intf_pins $cell/$bus]
        }
        default {
            error "get_bd_addr_segs: $cell has no segments"
        }
    }
    if {[lindex [about_bus $found] 0] ne "slave"} {
        error "get_bd_addr_segs: $name is no slave"
    }
    return [list $found $block]
}

proc assign_bd_address {args} {
    global segments
    lassign [parse assign_bd_address $args {-offset -range -target_address_space} -force] options segment
    needs assign_bd_address $options {-offset -range -target_address_space}
    set space [dict get $options -target_address_space]
    set segment [lindex $segment 0]
    set offset [expr {[dict get $options -offset]}]
    set range [expr {[dict get $options -range]}]
    if {$range <= 0 || $range & ($range - 1) || $offset % $range} {
        error "assign_bd_address: $range bytes at $offset for $segment are not aligned"
    }
    if {$segment ni [reached $space]} {
        error "assign_bd_address: $space does not lead to $segment"
    }
    if {[dict exists $segments $space]} {
        foreach other [dict get $segments $space] {
            lassign $other name start size
            if {$name eq $segment || ($offset < $start + $size && $start < $offset + $range)} {
                error "assign_bd_address: $segment and $name overlap in $space"
            }
        }
    }
    dict lappend segments $space [list $segment $offset $range]
}

# the segments behind a master, through interconnects: {interface block}, any block of an interface as {interface *}
proc reached {master} {
    global peer_of attached
    set found {}
    set todo [list $master]
    while {[llength $todo]} {
        set todo [lassign $todo master]
        if {![dict exists $peer_of $master]} {
            continue
        }
        set slave [dict get $peer_of $master]
        lassign [split [string trimleft $slave /] /] cell bus
        switch [lindex [find_cell $cell] 0] {
            smartconnect {
                foreach name [dict keys [buses_of $cell]] {
                    if {[string match M* $name]} {
                        lappend todo /$cell/$name
                    }
                }
            }
            axi_noc {
                foreach {path quality} [dict get $attached $slave CONNECTIONS] {
                    if {[regexp {^HBM(\d+)_PORT([0-3])$} $path all controller port]} {
                        lappend found [list $slave HBM${controller}_PC[expr {$port / 2}]]
                    } else {
                        lappend todo /$cell/$path
                    }
                }
            }
            core {lappend found [list $slave reg0]}
            zynq_ultra_ps_e {
                set port [string range $bus 6 end-4]
                lappend found [list $slave ${port}_DDR_LOW] [list $slave ${port}_DDR_HIGH]
            }
            ddr4 {lappend found [list $slave C0_DDR4_ADDRESS_BLOCK]}
            hbm {
                foreach n [numbered %02d 32] {
                    lappend found [list $slave HBM_MEM$n]
                }
            }
        }
    }
    return $found
}

# -- checks of the whole

proc validate_bd_design {} {
    global cells bd_state peer_of net_of segments core
    set report {}
    dict for {cell about} $cells {
        dict for {pin facts} [pins_of $cell] {
            if {[lindex $facts 1] && ![dict exists $net_of /$cell/$pin]} {
                lappend report "$cell/$pin is not connected"
            }
        }
        dict for {bus facts} [buses_of $cell] {
            if {![dict exists $peer_of /$cell/$bus]} {
                lappend report "$cell/$bus is not connected"
            } elseif {[lindex $facts 0] eq "master"} {
                lappend report {*}[check_connection /$cell/$bus [dict get $peer_of /$cell/$bus]]
            }
        }
    }
    dict for {bus facts} [buses_of lpu] {
        if {[lindex $facts 0] eq "master" && ![dict exists $segments /lpu/$bus]} {
            lappend report "lpu/$bus has no addresses"
        }
    }
    if {![regexp {/lpu/s_axil reg0} $segments]} {
        lappend report "the registers have no address"
    }
    if {[llength $report]} {
        error "validate_bd_design:\n  [join $report "\n  "]"
    }
    set bd_state valid
}

# both ends of a bus run from a common clock; a width is met as it is where nothing converts
proc check_connection {master slave} {
    global core attached
    if {[lindex [about_bus $master] 1] ne "aximm"} {
        return {}
    }
    set report {}
    set common 0
    foreach net [clock_nets $master] {
        set common [expr {$common || $net in [clock_nets $slave]}]
    }
    if {!$common} {
        lappend report "$master and $slave have no clock in common"
    }
    lassign [split [string trimleft $master /] /] cell bus
    lassign [split [string trimleft $slave /] /] slave_cell slave_bus
    lassign [find_cell $slave_cell] ip properties
    if {[lindex [find_cell $cell] 0] eq "core"} {
        set bits [dict get $core buses $bus parameters DATA_WIDTH]
        set takes [catalog_width $ip $slave_bus $properties]
        if {$ip eq "hbm"} {
            lappend report "$master is AXI4, $slave is AXI3"
        } elseif {$takes && ($ip eq "axi_noc" ? $bits > $takes : $bits != $takes)} {
            lappend report "$master has $bits bits, $slave takes $takes"
        }
    }
    return $report
}

# the nets of the clocks of an interface; where a NoC says which of its clocks belongs to it, that one
proc clock_nets {bus} {
    global net_of attached
    lassign [split [string trimleft $bus /] /] cell name
    set clocks [lindex [about_bus $bus] 2]
    if {[lindex [find_cell $cell] 0] eq "axi_noc"} {
        set own {}
        foreach clock $clocks {
            if {[dict exists $attached /$cell/$clock ASSOCIATED_BUSIF] &&
                $name in [split [dict get $attached /$cell/$clock ASSOCIATED_BUSIF] :]} {
                lappend own $clock
            }
        }
        set clocks $own
    }
    set nets {}
    foreach clock $clocks {
        if {[dict exists $net_of /$cell/$clock]} {
            lappend nets [dict get $net_of /$cell/$clock]
        }
    }
    return $nets
}

proc save_bd_design {} {
    global bd_state
    if {$bd_state ne "valid"} {
        error "save_bd_design: the design has not been validated"
    }
    set bd_state saved
}

proc generate_target {what files} {
    global bd_state
    if {$bd_state ne "saved"} {
        error "generate_target: the design has not been saved"
    }
}

proc make_wrapper {args} {
    global project
    lassign [parse make_wrapper $args -files -top]
    set path [file join [lindex $project 1] system_wrapper.v]
    write_file $path
    return $path
}

# what a run has come to
proc finish {} {
    global cells ports segments bd_state constraints
    if {$bd_state ni {none saved}} {
        error "the design was left $bd_state"
    }
    foreach constraint $constraints {
        lassign $constraint what port
        regsub {_clk_[pn]$} $port {} bus
        if {$bd_state eq "saved" && ![dict exists $ports $port] && ![dict exists $ports $bus]} {
            error "a constraint names the port $port, which the design does not have"
        }
    }
    set count 0
    dict for {space found} $segments {
        incr count [llength $found]
    }
    puts "[dict size $cells] cells, [dict size $ports] ports, $count address segments"
}
