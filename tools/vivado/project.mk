# the whole design of the board

.PHONY: project bitstream

project: build/project/lpu.xpr

build/project/lpu.xpr: build/ip/component.xml $(wildcard vivado/*)
	$(RUN) vivado/project.tcl

bitstream: build/project/lpu.xpr
	$(RUN) vivado/bitstream.tcl -tclargs $(JOBS)
