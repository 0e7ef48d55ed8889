# A Vivado project with the machine on its board: build/project/lpu.xpr, block design `system`.
#     vivado -mode batch -source vivado/project.tcl

source [file join [file dirname [info script]] common.tcl]

if {![file exists [file join $build ip component.xml]]} {
    error "there is no packaged IP in build/ip: run vivado/ip.tcl first (make ip)"
}
file delete -force [file join $build project]
create_project lpu [file join $build project] -part [fact part]
if {[get_board_parts -quiet [fact board_part]] eq ""} {
    error "Vivado does not know [fact board_part]: install the board files of [fact board] (Vivado Store, Boards)"
}
set_property board_part [fact board_part] [current_project]
if {[fact board_connections] ne ""} {
    set_property board_connections [fact board_connections] [current_project]
}
set_property ip_repo_paths [file join $build ip] [current_project]
update_ip_catalog

create_bd_design system
source [file join $here block_design.tcl]
validate_bd_design
save_bd_design

set design [get_files system.bd]
generate_target all $design
add_files -norecurse [make_wrapper -files $design -top]
set_property top system_wrapper [current_fileset]
add_files -fileset constrs_1 -norecurse [file join $here board.xdc]
update_compile_order -fileset sources_1
