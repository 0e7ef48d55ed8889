# Synthesis of one unit alone, for the machine's clock: build/ooc/UNIT/ with checkpoint, utilisation and timing.
#     vivado -mode batch -source vivado/ooc.tcl -tclargs UNIT [route]
# UNIT: lpu, hub, engine, or a unit of these two (machine.tcl lists them). With `route` it is placed and routed as well.

source [file join [file dirname [info script]] common.tcl]

set unit [lindex $argv 0]
if {![dict exists [fact units] $unit]} {
    error "unknown unit '$unit'; there are: [join [dict keys [fact units]] {, }]"
}
set out [file join $build ooc $unit]
file mkdir $out
create_project -in_memory -part [fact part]
read_verilog [sources]
read_xdc -mode out_of_context [file join $here clock.xdc]
synth_design -top [dict get [fact units] $unit] -part [fact part] -mode out_of_context
opt_design
if {[lindex $argv 1] eq "route"} {
    place_design
    phys_opt_design
    route_design
}
write_checkpoint -force [file join $out $unit.dcp]
report_utilization -file [file join $out utilisation.rpt]
report_timing_summary -file [file join $out timing.rpt]
puts "$unit: [get_property SLACK [get_timing_paths -max_paths 1 -setup]] ns to spare at [fact clock_mhz] MHz"
