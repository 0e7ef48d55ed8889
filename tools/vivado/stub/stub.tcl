# Runs a script for Vivado without Vivado:
#     tclsh stub.tcl SCRIPT ARGUMENTS …
# Every command that the scripts use is here and looks at its arguments; any other is an error, and so is what Vivado has
# and this does not know. Files that Vivado would write appear where it would write them, so that the next script runs.
# A design is kept as a graph (design.tcl) of cells whose pins, interfaces and properties are known (catalog.tcl).

foreach newer {lmap try tailcall coroutine yieldto zlib dict_getdef} {
    catch {rename $newer {}}    ;# older versions of Vivado have Tcl 8.5
}
set stub [file dirname [file normalize [info script]]]
source [file join $stub catalog.tcl]
source [file join $stub design.tcl]

# {options} {words}: `-name value` for each name in `valued`, `-name` for those in `flags`
proc parse {command arguments valued {flags {}}} {
    set options {}
    set words {}
    while {[llength $arguments]} {
        set arguments [lassign $arguments word]
        if {![regexp {^-[a-z_]+$} $word]} {
            lappend words $word
        } elseif {$word in $valued} {
            if {![llength $arguments]} {
                error "$command: $word needs a value"
            }
            set arguments [lassign $arguments value]
            dict set options $word $value
        } elseif {$word in $flags} {
            dict set options $word 1
        } else {
            error "$command has no option $word"
        }
    }
    return [list $options $words]
}

proc needs {command options names} {
    foreach name $names {
        if {![dict exists $options $name]} {
            error "$command: $name is missing"
        }
    }
}

proc must_exist {command files} {
    foreach file $files {
        if {![file isfile $file]} {
            error "$command: there is no file $file"
        }
    }
}

proc write_file {path {text "written by the stub\n"}} {
    file mkdir [file dirname $path]
    set file [open $path w]
    puts -nonewline $file $text
    close $file
}

# -- projects and files

set project {}
set verilog {}
set constraints {}
set properties {}

proc create_project {args} {
    global project
    lassign [parse create_project $args -part {-in_memory -force}] options words
    needs create_project $options -part
    if {[dict get $options -part] eq ""} {
        error "create_project: empty part"
    }
    set project [concat memory $words]
    if {![dict exists $options -in_memory]} {
        lassign $words name folder
        set project [list $name $folder]
        write_file [file join $folder $name.xpr]
    }
}

proc open_project {path} {
    global project
    must_exist open_project $path
    set project [list [file rootname [file tail $path]] [file dirname $path]]
}

proc close_project {} {
    global project
    if {$project eq ""} {
        error "close_project: no project is open"
    }
    set project {}
}

proc current_project {} {
    return project
}

proc current_fileset {} {
    return sources_1
}

proc add_files {args} {
    global verilog constraints
    lassign [parse add_files $args -fileset -norecurse] options words
    must_exist add_files [concat {*}$words]
    foreach file [concat {*}$words] {
        if {[file extension $file] eq ".xdc"} {
            if {![dict exists $options -fileset] || [dict get $options -fileset] ne "constrs_1"} {
                error "add_files: $file belongs to the fileset constrs_1"
            }
            read_constraints $file
        } else {
            lappend verilog $file
        }
    }
}

proc read_verilog {files} {
    global verilog
    must_exist read_verilog $files
    lappend verilog {*}$files
}

proc read_xdc {args} {
    lassign [parse read_xdc $args -mode] options words
    must_exist read_xdc $words
    foreach file $words {
        read_constraints $file
    }
}

proc get_files {name} {
    if {[file extension $name] eq ".bd"} {
        return $name
    }
    must_exist get_files $name
    return file:$name
}

proc update_compile_order {args} {
    parse update_compile_order $args -fileset
}

proc get_board_parts {args} {
    lassign [parse get_board_parts $args {} -quiet] options words
    return $words
}

proc update_ip_catalog {} {
    global properties
    must_exist update_ip_catalog [file join [dict get $properties project ip_repo_paths] component.xml]
}

# the constraints themselves: plain Tcl in an interpreter of their own that knows these commands alone
proc read_constraints {file} {
    global constraints
    set inner [interp create -safe]
    interp alias $inner create_clock {} constraint create_clock
    interp alias $inner set_property {} constraint set_property
    interp alias $inner get_ports {} constraint get_ports
    set in [open $file]
    $inner eval [read $in]
    close $in
    interp delete $inner
}

proc constraint {command args} {
    global constraints
    switch $command {
        create_clock {
            lassign [parse create_clock $args {-name -period}] options words
            needs create_clock $options {-name -period}
            if {![string is double -strict [dict get $options -period]] || [dict get $options -period] <= 0} {
                error "create_clock: bad period"
            }
            lappend constraints [list clock {*}$words]
        }
        set_property {
            lassign [parse set_property $args -dict] options words
            if {[lsort [dict keys [dict get $options -dict]]] ne {IOSTANDARD PACKAGE_PIN}} {
                error "set_property in constraints: [dict get $options -dict]"
            }
            lappend constraints [list pin {*}$words]
        }
        get_ports {
            return $args
        }
    }
}

# -- properties of whatever has them

set known_properties {
    project {board_part board_connections ip_repo_paths}
    fileset {top}
    core {vendor library name version display_name description supported_families auto_family_support_level}
    bus {slave_memory_map_ref master_address_space_ref}
    block {usage range width}
    space {range width}
    file {USED_IN}
}

proc set_property {args} {
    global known_properties properties
    lassign [parse set_property $args -dict] options words
    if {[dict exists $options -dict]} {
        set pairs [dict get $options -dict]
        lassign $words object
    } else {
        lassign $words name value object
        set pairs [list $name $value]
    }
    if {$object eq ""} {
        error "set_property: no object for $pairs"
    }
    if {[is_design_object $object]} {
        return [set_design_properties $object $pairs]
    }
    set class [lindex [split $object :] 0]
    if {$class eq "sources_1"} {
        set class fileset
    }
    foreach {name value} $pairs {
        if {![dict exists $known_properties $class] || $name ni [dict get $known_properties $class]} {
            error "set_property: $object has no property $name"
        }
        dict set properties $object $name $value
    }
}

proc get_property {name object} {
    global project
    switch $name {
        PROGRESS {return 100%}
        STATUS {return Complete}
        DIRECTORY {return [file join [lindex $project 1] runs $object]}
        SLACK {return 0.1}
        default {error "get_property: $object has no property $name"}
    }
}

# -- runs and reports

proc get_runs {name} {
    if {$name ni {synth_1 impl_1}} {
        error "get_runs: there is no run $name"
    }
    return $name
}

proc reset_run {name} {
    get_runs $name
}

proc launch_runs {args} {
    global project
    lassign [parse launch_runs $args {-jobs -to_step}] options words
    get_runs $words
    if {$words eq "impl_1"} {
        set suffix [dict get {write_bitstream bit write_device_image pdi} [dict get $options -to_step]]
        write_file [file join [lindex $project 1] runs impl_1 system_wrapper.$suffix]
    }
}

proc wait_on_run {name} {
    get_runs $name
}

proc open_run {name} {
    get_runs $name
}

foreach report {report_utilization report_timing_summary write_hw_platform write_checkpoint} {
    proc $report {args} {
        set command [lindex [info level 0] 0]
        lassign [parse $command $args -file {-hierarchical -fixed -include_bit -force}] options words
        set file [expr {[dict exists $options -file] ? [dict get $options -file] : $words}]
        write_file $file
    }
}

proc get_timing_paths {args} {
    parse get_timing_paths $args -max_paths {-setup -hold}
    return path
}

proc synth_design {args} {
    global verilog constraints
    lassign [parse synth_design $args {-top -part -mode}] options words
    needs synth_design $options {-top -part}
    set ports [module_ports $verilog [dict get $options -top]]
    foreach constraint $constraints {
        lassign $constraint what port
        if {![dict exists $ports $port]} {
            error "synth_design: a constraint names the port $port, which [dict get $options -top] does not have"
        }
    }
}

foreach step {opt_design place_design phys_opt_design route_design} {
    proc $step {} {}
}

# -- packaging

# port → direction of a module in Verilog files; the ports as the files declare them
proc module_ports {files module} {
    foreach file $files {
        set in [open $file]
        set text [read $in]
        close $in
        set escaped [regsub -all {[][$.]} $module {\\&}]
        if {![regexp "(?:^|\n)module \\\\?$escaped ?\\(.*?\nendmodule" $text body]} {
            continue
        }
        set found {}
        foreach {all direction name} [regexp -all -inline {(?:^|\n)\s*(input|output) (?:\[[^]]*\] ?)?\\?([^ ,;\n]+)} $body] {
            dict set found $name $direction
        }
        return $found
    }
    error "no module $module in $files"
}

# Ports of an AXI interface behind its name (UG1118, "Inferring AXI Signals"): those that any has, and more of AXI4's.
set axi_signals {
    awaddr awprot awvalid awready wdata wstrb wvalid wready bresp bvalid bready
    araddr arprot arvalid arready rdata rresp rvalid rready
}
set axi4_signals {
    awid awlen awsize awburst awlock awcache awqos awregion wlast bid
    arid arlen arsize arburst arlock arcache arqos arregion rid rlast
}

# interface → {mode, type, parameters} of `lpu`: AXI by the names of the ports, signals and parameters by their attributes
proc inferred_buses {files} {
    global axi_signals axi4_signals
    set found {}
    set signals {}
    dict for {port direction} [module_ports $files lpu] {
        if {[regexp {^(\w+)_([a-z]+)$} $port all bus signal] && $signal in [concat $axi_signals $axi4_signals]} {
            dict set signals $bus $signal $direction
        }
    }
    dict for {bus directions} $signals {
        set missing 0
        foreach signal $axi_signals {
            incr missing [expr {![dict exists $directions $signal]}]
        }
        if {!$missing} {
            set master [expr {[dict get $directions awvalid] eq "output"}]
            dict set found $bus [dict create type aximm mode [expr {$master ? "master" : "slave"}]]
        }
    }
    foreach file $files {
        set in [open $file]
        set text [read $in]
        close $in
        set pattern {(?:\(\* X_INTERFACE_INFO = "xilinx.com:signal:(\w+):1.0 (\w+) \w+" \*\)\n)?(?:\(\* X_INTERFACE_PARAMETER = "XIL_INTERFACENAME (\w+), ([^"]*)" \*\)\n)?(?:input|output) (?:\[\d+:0\] )?(\w+)}
        foreach {all type bus named parameters port} [regexp -all -inline $pattern $text] {
            if {$type ne ""} {
                dict set found $bus type $type
            }
            if {![dict exists $found $named]} {
                continue
            }
            if {$named ne $bus && ![regexp "^${named}_\[a-z\]+\$" $port]} {
                error "the parameters of $named are at the port $port"
            }
            foreach pair [split $parameters ,] {
                dict set found $named parameters {*}$pair
            }
        }
    }
    return $found
}

namespace eval ipx {
    variable buses {}
    variable root {}
    variable maps {}
    variable spaces {}
    variable checked 0

    proc package_project {args} {
        variable buses
        variable root
        lassign [parse ipx::package_project $args {-root_dir -taxonomy} {-import_files -force}] options words
        needs ipx::package_project $options -root_dir
        set root [dict get $options -root_dir]
        set buses [inferred_buses $::verilog]
        foreach file $::verilog {
            write_file [file join $root src [file tail $file]]
        }
    }
    proc current_core {} {
        return core
    }
    proc get_bus_interfaces {name args} {
        variable buses
        lassign [parse ipx::get_bus_interfaces $args -of_objects] options words
        return [expr {[dict exists $buses $name] ? "bus:$name" : ""}]
    }
    foreach what {memory_maps address_blocks address_spaces} {
        proc get_$what {name args} {
            set command [lindex [info level 0] 0]
            parse $command $args -of_objects
            return ""
        }
    }
    proc add_memory_map {name core} {
        variable maps
        lappend maps $name
        return map:$name
    }
    proc add_address_block {name map} {
        return block:$name
    }
    proc add_address_space {name core} {
        variable spaces
        lappend spaces $name
        return space:$name
    }
    proc create_xgui_files {core} {}
    proc update_checksums {core} {}
    proc check_integrity {core} {
        variable buses
        variable maps
        variable spaces
        variable checked
        dict for {name bus} $buses {
            if {[dict get $bus type] ne "aximm"} {
                continue
            }
            set slave [expr {[dict get $bus mode] eq "slave"}]
            set reference [expr {$slave ? "slave_memory_map_ref" : "master_address_space_ref"}]
            if {![dict exists $::properties bus:$name $reference]} {
                error "interface $name has no $reference"
            }
            set target [dict get $::properties bus:$name $reference]
            if {$target ni [expr {$slave ? $maps : $spaces}]} {
                error "interface $name refers to $target, which there is not"
            }
        }
        set checked 1
    }
    proc save_core {core} {
        variable buses
        variable root
        variable checked
        if {!$checked} {
            error "ipx::save_core without ipx::check_integrity"
        }
        set vlnv {}
        foreach name {vendor library name version} {
            lappend vlnv [dict get $::properties core $name]
        }
        set top [dict get $::properties sources_1 top]
        write_file [file join $root component.xml] \
            [list vlnv [join $vlnv :] ports [module_ports $::verilog $top] buses $buses]
    }
}

set argv [lassign $argv script]
source $script
finish
