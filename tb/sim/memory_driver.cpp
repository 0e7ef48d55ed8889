// The memory models without a design: requests straight into one DRAM channel, and AXI4 masters on all ports. A C
// interface for test_memory_models.py, which has the structures of the same names.

#include <array>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "axi_memory.h"
#include "dram.h"
#include "memories.h"

namespace {

struct Request {
    uint64_t cycle, address, size;
    uint32_t port, write;
};

struct Transaction {
    uint64_t cycle, address, data;  // earliest cycle; data: place of its bytes (written) or where they go (read)
    uint32_t port, write, id, beats, barrier;  // barrier: all earlier ones of its port are complete
    uint32_t response;
    uint64_t asked, first, last;    // results: cycles of its request, its first and last answer
};

template <size_t BYTES, class Strobe>
class Bench {
public:
    using Data = std::array<uint8_t, BYTES>;
    using Memory = AxiMemory<uint8_t, uint64_t, Data, Strobe>;

    Bench(const std::string& model, unsigned ports, unsigned split, uint64_t size, const double* stall, uint64_t seed)
        : wires_(ports), lists_(ports) {
        for (unsigned p = 0; p < ports; ++p) {
            Wires& w = wires_[p];
            memories.ports.emplace_back(
                typename Memory::Port{w.arvalid, w.arready, w.arid, w.arlen, w.arsize, w.arburst, w.araddr,
                                      w.rvalid, w.rready, w.rid, w.rresp, w.rlast, w.rdata,
                                      w.awvalid, w.awready, w.awid, w.awlen, w.awsize, w.awburst, w.awaddr,
                                      w.wvalid, w.wready, w.wlast, w.wdata, w.wstrb, w.bvalid, w.bready, w.bid, w.bresp},
                p, seed);
            memories.ports[p].stall(stall);
        }
        memories.split(split);
        for (unsigned m = 0; m < split; ++m) memories.place(m, (m + 1) << 20, size);
        memories.choose(model, 0);
    }

    // Returns the cycle after which all is answered, or `limit`.
    uint64_t run(Transaction* all, unsigned count, uint8_t* bytes, uint64_t limit) {
        for (unsigned i = 0; i < count; ++i) lists_[all[i].port].mine.push_back(&all[i]);
        uint64_t cycle = 0;
        for (bool busy = true; busy && cycle < limit && memories.error.empty(); ++cycle) {
            for (unsigned p = 0; p < wires_.size(); ++p) issue(wires_[p], lists_[p], bytes, cycle);
            memories.drive(cycle);
            memories.sample(cycle);
            busy = false;
            for (unsigned p = 0; p < wires_.size(); ++p) busy |= collect(wires_[p], lists_[p], bytes, cycle);
        }
        return cycle;
    }

    Memories<Memory> memories;

private:
    struct Wires {
        uint8_t arvalid = 0, arready = 0, arid = 0, arlen = 0, arsize = 0, arburst = 1;
        uint64_t araddr = 0;
        uint8_t rvalid = 0, rready = 1, rid = 0, rresp = 0, rlast = 0;
        Data rdata{};
        uint8_t awvalid = 0, awready = 0, awid = 0, awlen = 0, awsize = 0, awburst = 1;
        uint64_t awaddr = 0;
        uint8_t wvalid = 0, wready = 0, wlast = 0;
        Data wdata{};
        Strobe wstrb{};
        uint8_t bvalid = 0, bready = 1, bid = 0, bresp = 0;
    };
    struct List {
        std::vector<Transaction*> mine;
        size_t next = 0, complete = 0;
        std::deque<Transaction*> writing, reads[2], writes[2];  // W data due; by ID
        uint64_t sent = 0, got[2] = {};
    };

    static constexpr uint8_t SIZE = BYTES == 16 ? 4 : 7;

    // Offer the next transaction once it may start, in order; data of writes follows its address.
    void issue(Wires& w, List& l, const uint8_t* bytes, uint64_t cycle) {
        if (!w.arvalid && !w.awvalid && l.next < l.mine.size()) {
            Transaction& t = *l.mine[l.next];
            if (cycle >= t.cycle && (!t.barrier || l.complete == l.next)) {
                (t.write ? w.awvalid : w.arvalid) = 1;
                (t.write ? w.awaddr : w.araddr) = t.address;
                (t.write ? w.awid : w.arid) = t.id;
                (t.write ? w.awlen : w.arlen) = t.beats - 1;
                (t.write ? w.awsize : w.arsize) = SIZE;
            }
        }
        if (!w.wvalid && !l.writing.empty()) {
            const Transaction& t = *l.writing.front();
            w.wvalid = 1;
            w.wlast = l.sent + 1 == t.beats;
            std::memcpy(&w.wdata, bytes + t.data + l.sent * BYTES, BYTES);
            std::memset(&w.wstrb, 0xFF, sizeof w.wstrb);
        }
    }

    // What the handshakes of this cycle mean; false when the port has nothing left to do.
    bool collect(Wires& w, List& l, uint8_t* bytes, uint64_t cycle) {
        if ((w.arvalid && w.arready) || (w.awvalid && w.awready)) {
            Transaction& t = *l.mine[l.next++];
            t.asked = cycle;
            (t.write ? l.writes : l.reads)[t.id].push_back(&t);
            if (t.write) l.writing.push_back(&t);
            w.arvalid = w.awvalid = 0;
        }
        if (w.wvalid && w.wready) {
            w.wvalid = 0;
            if (++l.sent == l.writing.front()->beats) {
                l.writing.pop_front();
                l.sent = 0;
            }
        }
        if (w.rvalid) {
            Transaction& t = *l.reads[w.rid].front();
            uint64_t& got = l.got[w.rid];
            if (!got) t.first = cycle;
            std::memcpy(bytes + t.data + got * BYTES, &w.rdata, BYTES);
            t.response |= w.rresp;
            if (++got == t.beats) {
                if (!w.rlast) t.response |= 0x100;
                finish(l, l.reads[w.rid], cycle);
                got = 0;
            }
        }
        if (w.bvalid) {
            l.writes[w.bid].front()->response |= w.bresp;
            finish(l, l.writes[w.bid], cycle);
        }
        return l.complete < l.mine.size();
    }

    void finish(List& l, std::deque<Transaction*>& queue, uint64_t cycle) {
        queue.front()->last = cycle;
        queue.pop_front();
        ++l.complete;
    }

    std::vector<Wires> wires_;
    std::vector<List> lists_;
};

template <class B>
int drive(B& bench, Transaction* all, unsigned count, uint8_t* bytes, uint64_t limit, uint64_t* cycles,
          uint64_t* counts) {
    *cycles = bench.run(all, count, bytes, limit);
    const auto sums = bench.memories.counts();
    std::copy(sums.begin(), sums.end(), counts);
    return bench.memories.error.empty();
}

}  // namespace

extern "C" {

// Requests (by rising cycle) into one DRAM whose ports' windows are the DRAM itself, at engine clock = DRAM clock.
// `due` gets the cycle of each DRAM burst, one after the other; `log` the first `room` commands. Returns how many
// commands there were until clock `end`.
uint64_t dram_run(const char* text, unsigned ports, const Request* requests, unsigned count, uint64_t end, uint64_t* due,
                  Dram::Command* log, uint64_t room, uint64_t* counts) {
    const Settings settings(text);
    Dram dram(settings, {1, 1}, ports, 0, settings.number("refi"));
    std::vector<Dram::Command> commands;
    dram.log = &commands;
    for (unsigned i = 0; i < count; ++i) {
        const Request& r = requests[i];
        dram.advance(r.cycle);
        dram.request(r.port, r.write != 0, r.address, r.size, due);
        due += (r.address + r.size - 1) / dram.burst_bytes() - r.address / dram.burst_bytes() + 1;
    }
    dram.advance(end);
    std::copy_n(commands.begin(), std::min<uint64_t>(room, commands.size()), log);
    const DramCounts& c = dram.counts;
    const uint64_t all[] = {c.bursts[0], c.bursts[1], c.hits, c.misses, c.conflicts, c.activates, c.refreshes,
                            c.turnarounds, c.busy, c.refresh, end};
    std::copy(std::begin(all), std::end(all), counts);
    return commands.size();
}

// Transactions on ports of 16 or 128 bytes, which share memories of `size` bytes from (number + 1) MiB; 0 when a rule of
// AXI was broken.
int axi_run(const char* text, unsigned beat, unsigned ports, unsigned split, uint64_t size, const double* stall, uint64_t seed,
            Transaction* all, unsigned count, uint8_t* bytes, uint64_t limit, uint64_t* cycles, uint64_t* counts) {
    if (beat == 16) {
        Bench<16, uint16_t> bench(text, ports, split, size, stall, seed);
        return drive(bench, all, count, bytes, limit, cycles, counts);
    }
    Bench<128, std::array<uint32_t, 4>> bench(text, ports, split, size, stall, seed);
    return drive(bench, all, count, bytes, limit, cycles, counts);
}
}
