// The memories of all ports as one system: ideal, or behind one or several DRAM channels. `Memory` is an `AxiMemory`.
//
// The ports share the memories evenly and in order, as the memories do the DRAM channels.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "axi_memory.h"
#include "dram.h"

template <class Memory>
class Memories {
public:
    // Make so many memories, empty, for the ports that are there.
    void split(unsigned memories) {
        contents_.clear();
        for (unsigned m = 0; m < memories; ++m) contents_.push_back(std::make_unique<Content>());
        for (unsigned p = 0; p < ports.size(); ++p) ports[p].attach(contents_[memory_of(p)].get());
    }

    // Replace the model, described as memory.py does; nothing may be in flight. Throws for a text that lacks something.
    void choose(const std::string& text, uint64_t cycle) {
        const Settings s(text);
        const unsigned count = static_cast<unsigned>(ports.size());
        const unsigned channels = static_cast<unsigned>(s.number("channels"));
        drams_.clear();
        per_channel_ = channels ? (count + channels - 1) / channels : 0;
        if (channels) {
            clocks_ = {s.number("engine_khz"), s.number("dram_khz")};
            layout_ = s.word("layout");
            page_shift_ = static_cast<unsigned>(s.number("page_shift"));
            first_ = clocks_.clock_at(cycle);
        }
        for (unsigned c = 0; c < channels; ++c) {
            const uint64_t phase = s.number("stagger") ? s.number("refi") * (c + 1) / channels : s.number("refi");
            drams_.push_back(std::make_unique<Dram>(s, clocks_, per_channel_, first_, phase));
        }
        for (unsigned p = 0; p < count; ++p) {
            ports[p].latency(static_cast<uint32_t>(s.number("read_latency")),
                             static_cast<uint32_t>(s.number("write_latency")));
            ports[p].attach(channels ? drams_[p / per_channel_].get() : nullptr, channels ? p % per_channel_ : 0,
                            s.number("bursts"));
        }
        arrange();
    }

    void place(unsigned memory, uint64_t base, uint64_t size) {
        contents_[memory]->base = base;
        contents_[memory]->bytes.assign(size, 0);
        arrange();
    }
    uint8_t* bytes(unsigned memory) { return contents_[memory]->bytes.data(); }

    bool quiet() const {
        for (const Memory& m : ports)
            if (m.outstanding_reads() + m.outstanding_writes()) return false;
        return true;
    }

    void reset() {
        for (Memory& m : ports) m.reset();
        for (auto& d : drams_) d->reset();
    }

    // Whether ports depend on each other: then all of them are stepped together, by `drive` and `sample`. Otherwise a
    // port may be stepped alone, in any thread, by its own functions.
    bool shared() const { return !drams_.empty(); }

    // A cycle: drive, then sample; the design's answers of a cycle do not depend on what is driven in it.
    void drive(uint64_t cycle) {
        for (Memory& m : ports) m.drive(cycle);
    }
    void sample(uint64_t cycle) {
        if (!drams_.empty()) {
            now_ = clocks_.clock_at(cycle + 1);
            for (auto& d : drams_) d->advance(now_);
        }
        for (Memory& m : ports) {
            m.sample(cycle);
            if (!m.error.empty() && error.empty()) error = m.error;
        }
    }

    // Sums over all channels, in the order of `MemoryStatistics` from its third field on: of DRAM bursts and commands,
    // then of clocks.
    std::vector<uint64_t> counts() const {
        std::vector<uint64_t> sum(11);
        for (const auto& d : drams_) {
            const DramCounts& c = d->counts;
            const uint64_t each[] = {c.bursts[0], c.bursts[1], c.hits, c.misses, c.conflicts, c.activates,
                                     c.refreshes, c.turnarounds, c.busy, c.refresh, now_ > first_ ? now_ - first_ : 0};
            for (unsigned i = 0; i < sum.size(); ++i) sum[i] += each[i];
        }
        return sum;
    }

    Dram& dram(unsigned channel) { return *drams_[channel]; }

    std::vector<Memory> ports;
    std::string error;

private:
    unsigned memory_of(unsigned port) const { return port * contents_.size() / ports.size(); }

    // Tell each DRAM where the memories of its ports lie.
    void arrange() {
        if (drams_.empty()) return;
        const unsigned together = contents_.size() / drams_.size();  // memories of a DRAM
        std::vector<Window> windows(contents_.size());
        uint64_t next = 0;
        for (unsigned m = 0; m < contents_.size(); ++m) {
            const unsigned local = m % together;
            if (!local) next = 0;
            Window& w = windows[m];
            w.base = contents_[m]->base;
            if (layout_ == "stacked") {
                w.start = next;
                next += (contents_[m]->bytes.size() + 4095) / 4096 * 4096;
            } else if (layout_ == "interleaved") {
                w.page_shift = page_shift_;
                w.start = static_cast<uint64_t>(local) << page_shift_;
                w.stride = static_cast<uint64_t>(together) << page_shift_;
            } else {
                w.start = w.base;
            }
        }
        for (unsigned p = 0; p < ports.size(); ++p) drams_[p / per_channel_]->window(p % per_channel_, windows[memory_of(p)]);
    }

    std::vector<std::unique_ptr<Content>> contents_;
    std::vector<std::unique_ptr<Dram>> drams_;
    Clocks clocks_{1, 1};
    std::string layout_;
    unsigned per_channel_ = 0, page_shift_ = 0;
    uint64_t first_ = 0, now_ = 0;
};
