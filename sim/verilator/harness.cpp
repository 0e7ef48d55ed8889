// The machine of Verilated engines and the Verilated hub, with a clock, a memory behind every AXI4 port and a master for
// the registers, as a shared library with a C interface (see simulation.py for its meaning). Functions that advance the
// clock return an `Answer`; after FATAL the simulation is over and `lpu_error` says why.
//
// No output of an engine or of the hub depends on an input in the same cycle (hdl/engine/boundary.py). So a cycle is one
// evaluation of each of them, in any order: all take the outputs that the others had before the clock rose. These are
// kept twice, for even and odd cycles, so that nobody waits for anybody within a cycle.
//
// An engine says which of its units would change with the next edge of their own clock (hdl/common/rest.py); the others
// do not get one, and nothing of them is evaluated.

#include <algorithm>
#include <atomic>
#include <exception>
#include <iterator>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "Vlpu_engine.h"
#include "Vlpu_engine___024root.h"
#include "Vlpu_hub.h"
#include "Vlpu_hub___024root.h"
#include "axi_memory.h"
#include "crew.h"
#include "memories.h"
#include "parts.h"
#include "ports.h"
#include "verilated.h"

namespace {

template <class T>
using Plain = std::remove_reference_t<T>;
#define ENGINE_TYPE(name) Plain<decltype(Vlpu_engine::name)>
#define AXI(name) axi___05F##name
using Memory = AxiMemory<CData, ENGINE_TYPE(AXI(araddr)), ENGINE_TYPE(AXI(rdata)), ENGINE_TYPE(AXI(wstrb))>;

constexpr uint64_t REGISTER_LIMIT = 100000;  // cycles for one register access

enum Answer { FATAL = -1, OK = 0, LATE = 1, REFUSED = 2 };

thread_local std::string* complaint = nullptr;

#define MEMBER(name) ENGINE_TYPE(name) name;
#define MEMBER_OF(name, bits) MEMBER(name)
struct Broadcast {
    CData reset;
    BROADCAST(MEMBER)
};
struct ToEngine { TO_ENGINE(MEMBER_OF) };
struct FromEngine { FROM_ENGINE(MEMBER_OF) };

// What a hub says to all, what it says to each engine, and what each says to it.
#define FROM_HUB(name) said.name = hub.broadcast___05F##name;
void listen(const Vlpu_hub& hub, Broadcast& said) {
    said.reset = hub.engine_reset;
    BROADCAST(FROM_HUB)
}
#define FROM_HUB_TO(name, bits) parts::extract<bits>(said.name, hub.engines___05F##name, e);
void listen(const Vlpu_hub& hub, unsigned e, ToEngine& said) { TO_ENGINE(FROM_HUB_TO) }
#define INTO_HUB(name, bits) parts::insert<bits>(hub.engines___05F##name, e, said.name);
void tell(Vlpu_hub& hub, unsigned e, const FromEngine& said) { FROM_ENGINE(INTO_HUB) }

// A clock cycle of a model, whose clock is always high; complaints of its assertions go to `error`. That the clock was
// low before is written where Verilator keeps it: evaluating the model for that, too, would find nothing to do.
template <class Model>
void cycle(Model& model, std::string& error) {
    complaint = &error;
    model.rootp->__Vtrigprevexpr___TOP__clk__0 = 0;
    model.eval();
    complaint = nullptr;
}

// What an engine did from cycle `start` to `end` - 1, while it executed one op: cycles of each registers.Activity.
struct Span {
    uint64_t start, end;
    uint32_t index, opcode, cycles[8];
};

// An engine and its memory port.
struct alignas(64) Engine {
    explicit Engine(VerilatedContext* context) : model(context, "engine") { model.clk = 1; }

    Memory::Port port() {
        Vlpu_engine& t = model;
        return {t.AXI(arvalid), t.AXI(arready), t.AXI(arid),    t.AXI(arlen),   t.AXI(arsize),  t.AXI(arburst),
                t.AXI(araddr),  t.AXI(rvalid),  t.AXI(rready),  t.AXI(rid),     t.AXI(rresp),   t.AXI(rlast),
                t.AXI(rdata),   t.AXI(awvalid), t.AXI(awready), t.AXI(awid),    t.AXI(awlen),   t.AXI(awsize),
                t.AXI(awburst), t.AXI(awaddr),  t.AXI(wvalid),  t.AXI(wready),  t.AXI(wlast),   t.AXI(wdata),
                t.AXI(wstrb),   t.AXI(bvalid),  t.AXI(bready),  t.AXI(bid),     t.AXI(bresp)};
    }
#define INTO_ENGINE(name) model.name = all.name;
#define INTO_ENGINE_OF(name, bits) model.name = one.name;
    void take(const Broadcast& all, const ToEngine& one) {
        model.rst = all.reset;
        BROADCAST(INTO_ENGINE)
        TO_ENGINE(INTO_ENGINE_OF)
    }
    // Give the next edge to the units that need it, or to all.
    void wake(bool all) {
#define WAKE(name) \
        model.clk_##name = all | model.awake_##name; \
        rested += !model.clk_##name; \
        model.rootp->__Vtrigprevexpr___TOP__clk_##name##__0 = 0;
        RESTING(WAKE)
    }
#define FROM_MODEL(name, bits) said.name = model.name;
    void give(FromEngine& said) const { FROM_ENGINE(FROM_MODEL) }

    void record(uint64_t now) {
#if ACTIVITY
        const uint64_t said = model.activity;
        const uint32_t opcode = said >> 3 & 0xFF, index = static_cast<uint32_t>(said >> 11);
        if (spans.empty() || spans.back().index != index || spans.back().opcode != opcode)
            spans.push_back({now, now, index, opcode, {}});
        ++spans.back().cycles[said & 7];
        spans.back().end = now + 1;
#endif
    }

    Vlpu_engine model;
    FromEngine said[2] = {};
    std::string error;
    std::vector<Span> spans;
    uint64_t rested = 0;  // edges that clocks of units did not get
};

class Harness {
public:
    Harness(uint64_t seed, unsigned threads) : hub_(context(), "hub") {
        for (unsigned e = 0; e < ENGINES; ++e) {
            engines.push_back(std::make_unique<Engine>(context()));
            memories.ports.emplace_back(engines[e]->port(), e, seed);
        }
        memories.split(ENGINES);
        std::vector<unsigned> homes(ENGINES + 1);
        threads = std::clamp(threads, 1u, unsigned{ENGINES});
        for (unsigned e = 0; e < ENGINES; ++e) homes[e + 1] = e * threads / ENGINES;
        crew_ = std::make_unique<Crew>(homes, [this](unsigned task) { task ? step_engine(task - 1) : step_hub(); });
        hub_.clk = 1;
        reset(4);
    }
    ~Harness() {
        crew_.reset();
        hub_.final();
        for (auto& engine : engines) engine->model.final();
    }

    void reset(unsigned count) {
        hub_.s_axil_awvalid = hub_.s_axil_wvalid = hub_.s_axil_bready = 0;
        hub_.s_axil_arvalid = hub_.s_axil_rready = 0;
        memories.reset();
        hub_.rst = resetting_ = 1;
        for (unsigned i = 0; i < std::max(count, 4u); ++i) crew_->run(), ++turn_;  // until the engines' has arrived
        hub_.rst = resetting_ = 0;
    }

    bool step() {
        if (memories.shared()) {
            memories.drive(cycles);
            memories.sample(cycles);
            if (!memories.error.empty()) failed_ = true;
        }
        crew_->run();
        ++cycles, ++turn_;
        if (failed_) gather_errors();
        return error.empty();
    }

    int write(uint32_t address, uint32_t value) {
        hub_.s_axil_awaddr = address;
        hub_.s_axil_wdata = value;
        hub_.s_axil_wstrb = 0xF;
        hub_.s_axil_awvalid = hub_.s_axil_wvalid = hub_.s_axil_bready = 1;
        return access(address);
    }

    int read(uint32_t address, uint32_t& value) {
        hub_.s_axil_araddr = address;
        hub_.s_axil_arvalid = hub_.s_axil_rready = 1;
        const int answer = access(address);
        value = data_;
        return answer;
    }

    Memories<Memory> memories;
    std::vector<std::unique_ptr<Engine>> engines;
    std::vector<uint8_t> trace;
    bool tracing = false, recording = false, evaluates_all = false;
    uint64_t cycles = 0;
    std::string error;

private:
    VerilatedContext* context() {  // one for each model, so that threads share nothing
        contexts_.push_back(std::make_unique<VerilatedContext>());
        return contexts_.back().get();
    }

    void step_engine(unsigned e) {
        Engine& engine = *engines[e];
        engine.take(broadcast_[turn_ % 2], to_[turn_ % 2][e]);
        if (!memories.shared() && !resetting_) {
            memories.ports[e].drive(cycles);
            memories.ports[e].sample(cycles);
            if (!memories.ports[e].error.empty()) failed_.store(true, std::memory_order_relaxed);
        }
        engine.wake(evaluates_all);
        cycle(engine.model, engine.error);
        if (!engine.error.empty()) failed_.store(true, std::memory_order_relaxed);
        engine.give(engine.said[(turn_ + 1) % 2]);
        if (recording) engine.record(cycles);
    }

    void step_hub() {
        for (unsigned e = 0; e < ENGINES; ++e) tell(hub_, e, engines[e]->said[turn_ % 2]);
        if (!resetting_) {
            record();
            sample_registers();
        }
        cycle(hub_, hub_error_);
        if (!hub_error_.empty()) failed_.store(true, std::memory_order_relaxed);
        listen(hub_, broadcast_[(turn_ + 1) % 2]);
        for (unsigned e = 0; e < ENGINES; ++e) listen(hub_, e, to_[(turn_ + 1) % 2][e]);
        if (!resetting_) drive_registers();
    }

    // The first error, of the lowest engine if several found one in this cycle.
    void gather_errors() {
        for (unsigned e = 0; e < ENGINES && error.empty(); ++e)
            error = engines[e]->error.empty() ? memories.ports[e].error : engines[e]->error;
        if (error.empty()) error = hub_error_;
    }

    void record() {
#if EXCHANGE_BYTES
        if (!tracing || !hub_.debug_exchange_valid) return;
        const auto* word = reinterpret_cast<const uint8_t*>(&hub_.debug_exchange_word);
        trace.insert(trace.end(), word, word + EXCHANGE_BYTES);
#endif
    }

    void sample_registers() {
        took_aw_ = hub_.s_axil_awvalid && hub_.s_axil_awready;
        took_w_ = hub_.s_axil_wvalid && hub_.s_axil_wready;
        took_ar_ = hub_.s_axil_arvalid && hub_.s_axil_arready;
        took_b_ = hub_.s_axil_bready && hub_.s_axil_bvalid;
        took_r_ = hub_.s_axil_rready && hub_.s_axil_rvalid;
        if (took_b_) response_ = hub_.s_axil_bresp;
        if (took_r_) {
            response_ = hub_.s_axil_rresp;
            data_ = hub_.s_axil_rdata;
        }
    }
    void drive_registers() {
        if (took_aw_) hub_.s_axil_awvalid = 0;
        if (took_w_) hub_.s_axil_wvalid = 0;
        if (took_ar_) hub_.s_axil_arvalid = 0;
        if (took_b_) hub_.s_axil_bready = 0;
        if (took_r_) hub_.s_axil_rready = 0;
    }

    int access(uint32_t address) {
        const uint64_t end = cycles + REGISTER_LIMIT;
        while (cycles < end) {
            if (!step()) return FATAL;
            if (!(took_b_ || took_r_)) continue;
            if (!hub_.s_axil_awvalid && !hub_.s_axil_wvalid && !hub_.s_axil_arvalid)
                return response_ ? REFUSED : OK;
            error = "the register port answered before it took the request, at byte " + std::to_string(address);
            return FATAL;
        }
        error = "no answer from the register at byte " + std::to_string(address);
        return FATAL;
    }

    std::vector<std::unique_ptr<VerilatedContext>> contexts_;
    Vlpu_hub hub_;
    Broadcast broadcast_[2] = {};
    ToEngine to_[2][ENGINES] = {};
    unsigned turn_ = 0;  // cycles, those of resets too
    bool resetting_ = false;
    std::atomic<bool> failed_{false};
    std::string hub_error_;
    bool took_aw_ = false, took_w_ = false, took_ar_ = false, took_b_ = false, took_r_ = false;
    uint32_t response_ = 0, data_ = 0;
    std::unique_ptr<Crew> crew_;
};

}  // namespace

// Verilator calls these for `$finish`, `$stop` and failed assertions.
void vl_finish(const char* file, int line, const char*) {
    if (complaint && complaint->empty()) *complaint = std::string(file) + ":" + std::to_string(line) + ": $finish";
}
void vl_stop(const char* file, int line, const char*) {
    if (complaint && complaint->empty())
        *complaint = std::string(file) + ":" + std::to_string(line) + ": an assertion of the design failed";
}
void vl_fatal(const char* file, int line, const char* scope, const char*) { vl_stop(file, line, scope); }

extern "C" {

#ifdef LPU_LEARNS
void __gcov_dump();
// Write what was counted beside the objects of the engine, for the compiler; nothing is counted from then on.
void lpu_write_profile() { __gcov_dump(); }
#endif

void* lpu_new(uint64_t seed, uint32_t threads) { return new Harness(seed, threads); }
void lpu_delete(void* h) { delete static_cast<Harness*>(h); }
const char* lpu_error(void* h) { return static_cast<Harness*>(h)->error.c_str(); }
uint64_t lpu_cycles(void* h) { return static_cast<Harness*>(h)->cycles; }
void lpu_reset(void* h, uint32_t cycles) { static_cast<Harness*>(h)->reset(cycles); }

// Evaluate all units in every cycle, also those that stand still.
void lpu_evaluate_all(void* h, int on) { static_cast<Harness*>(h)->evaluates_all = on != 0; }

uint64_t lpu_rested(void* h, uint32_t engine) { return static_cast<Harness*>(h)->engines[engine]->rested; }

unsigned lpu_engines() { return ENGINES; }
unsigned lpu_beat() { return Memory::BEAT; }

// Share the ports among so many memories, which are empty then; one for each port at the start.
void lpu_split(void* h, uint32_t channels) { static_cast<Harness*>(h)->memories.split(channels); }
void lpu_place(void* h, uint32_t channel, uint64_t base, uint64_t size) {
    static_cast<Harness*>(h)->memories.place(channel, base, size);
}
uint8_t* lpu_bytes(void* h, uint32_t channel) { return static_cast<Harness*>(h)->memories.bytes(channel); }
void lpu_latency(void* h, uint32_t port, uint32_t read, uint32_t write) {
    static_cast<Harness*>(h)->memories.ports[port].latency(read, write);
}
void lpu_stall(void* h, uint32_t port, const double* probability) {
    static_cast<Harness*>(h)->memories.ports[port].stall(probability);
}
void lpu_fail(void* h, uint32_t port, int write, uint64_t start, uint64_t end) {
    static_cast<Harness*>(h)->memories.ports[port].fail(write != 0, start, end);
}
void lpu_hang(void* h, uint32_t port, uint64_t cycle) { static_cast<Harness*>(h)->memories.ports[port].hang(cycle); }
void lpu_heal(void* h, uint32_t port) { static_cast<Harness*>(h)->memories.ports[port].heal(); }

// REFUSED while bursts are in flight.
int lpu_model(void* h, const char* text) {
    auto& harness = *static_cast<Harness*>(h);
    if (!harness.memories.quiet()) return REFUSED;
    try {
        harness.memories.choose(text, harness.cycles);
    } catch (const std::exception& e) {
        harness.error = e.what();
        return FATAL;
    }
    return OK;
}
void lpu_counts(void* h, uint64_t* counts) {
    const auto all = static_cast<Harness*>(h)->memories.counts();
    std::copy(all.begin(), all.end(), counts);
}

// read bursts, read beats, write bursts, write beats, outstanding reads, outstanding writes
void lpu_traffic(void* h, uint32_t port, uint64_t* counts) {
    const Memory& m = static_cast<Harness*>(h)->memories.ports[port];
    const uint64_t all[] = {m.read_bursts, m.read_beats, m.write_bursts, m.write_beats,
                            m.outstanding_reads(), m.outstanding_writes()};
    std::copy(std::begin(all), std::end(all), counts);
}

int lpu_write(void* h, uint32_t address, uint32_t value) {
    return static_cast<Harness*>(h)->write(address, value);
}
int lpu_read(void* h, uint32_t address, uint32_t* value) {
    return static_cast<Harness*>(h)->read(address, *value);
}
int lpu_step(void* h, uint64_t cycles) {
    auto& harness = *static_cast<Harness*>(h);
    while (cycles--)
        if (!harness.step()) return FATAL;
    return OK;
}

// Until (register & mask) == 0, which is looked at every `interval` cycles; LATE when `cycles` have passed before that.
int lpu_wait(void* h, uint32_t address, uint32_t mask, uint32_t interval, uint64_t cycles) {
    auto& harness = *static_cast<Harness*>(h);
    const uint64_t end = harness.cycles + cycles;
    while (true) {
        uint32_t value;
        if (const int answer = harness.read(address, value)) return answer;
        if (!(value & mask)) return OK;
        for (uint32_t i = 0; i < interval; ++i) {
            if (harness.cycles >= end) return LATE;
            if (!harness.step()) return FATAL;
        }
    }
}

void lpu_trace(void* h, int on) {
    auto& harness = *static_cast<Harness*>(h);
    harness.tracing = on != 0;
    harness.trace.clear();
}
uint64_t lpu_trace_size(void* h) { return static_cast<Harness*>(h)->trace.size(); }
const uint8_t* lpu_trace_bytes(void* h) { return static_cast<Harness*>(h)->trace.data(); }

void lpu_record(void* h, int on) {
    auto& harness = *static_cast<Harness*>(h);
    harness.recording = on != 0;
    if (on)
        for (auto& engine : harness.engines) engine->spans.clear();
}
uint64_t lpu_spans(void* h, uint32_t engine) { return static_cast<Harness*>(h)->engines[engine]->spans.size(); }
const Span* lpu_span_bytes(void* h, uint32_t engine) { return static_cast<Harness*>(h)->engines[engine]->spans.data(); }
}
