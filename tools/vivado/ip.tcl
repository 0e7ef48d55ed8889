# Packages the machine as an IP: build/ip/component.xml.
#     vivado -mode batch -source vivado/ip.tcl

source [file join [file dirname [info script]] common.tcl]

file delete -force [file join $build ip] [file join $build ip_project]
create_project lpu_ip [file join $build ip_project] -part [fact part]
add_files -norecurse [sources]
set_property top lpu [current_fileset]
# the clock that out-of-context synthesis of the IP shall reach; in a design the clock comes with its source
set clock [file join $here clock.xdc]
add_files -fileset constrs_1 -norecurse $clock
set_property USED_IN {out_of_context synthesis implementation} [get_files $clock]
update_compile_order -fileset sources_1

ipx::package_project -root_dir [file join $build ip] -taxonomy /UserIP -import_files -force
set core [ipx::current_core]
lassign [split [fact vlnv] :] vendor library name version
set_property vendor $vendor $core
set_property library $library $core
set_property name $name $core
set_property version $version $core
set_property display_name "HTE-LPU [fact name]" $core
set_property description [fact description] $core
set_property supported_families {} $core
set_property auto_family_support_level level_2 $core

set memories {}
for {set engine 0} {$engine < [fact engines]} {incr engine} {
    lappend memories [format m_axi%02d $engine]
}

# The names of the ports have made the interfaces: all must be there.
foreach bus [concat s_axil $memories] {
    if {[ipx::get_bus_interfaces $bus -of_objects $core] eq ""} {
        error "Vivado has not inferred the interface $bus from the ports in rtl/lpu.v"
    }
}

# registers: one block, found by name in the address editor
set map [ipx::get_memory_maps s_axil -of_objects $core]
if {$map eq ""} {
    set map [ipx::add_memory_map s_axil $core]
}
set_property slave_memory_map_ref s_axil [ipx::get_bus_interfaces s_axil -of_objects $core]
set block [ipx::get_address_blocks reg0 -of_objects $map]
if {$block eq ""} {
    set block [ipx::add_address_block reg0 $map]
}
set_property usage register $block
set_property range [fact control_range] $block
set_property width 32 $block

# each engine sees an address space of its own
foreach bus $memories {
    set space [ipx::get_address_spaces $bus -of_objects $core]
    if {$space eq ""} {
        set space [ipx::add_address_space $bus $core]
    }
    set_property master_address_space_ref $bus [ipx::get_bus_interfaces $bus -of_objects $core]
    set_property range [fact address_range] $space
    set_property width [fact address_bits] $space
}

ipx::create_xgui_files $core
ipx::update_checksums $core
ipx::check_integrity $core
ipx::save_core $core
close_project
