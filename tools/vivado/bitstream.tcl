# Synthesis, place and route of the project: build/lpu.bit (Versal: build/lpu.pdi), build/lpu.xsa, reports. Fails if a
# clock is missed.
#     vivado -mode batch -source vivado/bitstream.tcl -tclargs JOBS

source [file join [file dirname [info script]] common.tcl]

set jobs [expr {[llength $argv] ? [lindex $argv 0] : 2}]
open_project [file join $build project lpu.xpr]
foreach {run step} [list synth_1 {} impl_1 [list -to_step [fact image_step]]] {
    reset_run $run
    launch_runs $run -jobs $jobs {*}$step
    wait_on_run $run
    if {[get_property PROGRESS [get_runs $run]] ne "100%"} {
        error "$run: [get_property STATUS [get_runs $run]]"
    }
}

open_run impl_1
report_utilization -hierarchical -file [file join $build utilisation.rpt]
report_timing_summary -file [file join $build timing.rpt]
write_hw_platform -fixed -include_bit -force -file [file join $build lpu.xsa]
set suffix [fact image_suffix]
set image [glob -directory [get_property DIRECTORY [get_runs impl_1]] *.$suffix]
file copy -force [lindex $image 0] [file join $build lpu.$suffix]

foreach check {setup hold} {
    set slack($check) [get_property SLACK [get_timing_paths -max_paths 1 -$check]]
    if {$slack($check) < 0} {
        error "the clocks are missed by [expr {-$slack($check)}] ns ($check): see build/timing.rpt"
    }
}
puts "build/lpu.$suffix meets its clocks with $slack(setup) ns to spare"
