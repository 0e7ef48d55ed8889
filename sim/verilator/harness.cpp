// The Verilated top `lpu` with a clock, a memory behind every AXI4 port and a master for the registers, as a shared
// library with a C interface (see simulation.py for its meaning). Functions that advance the clock return an `Answer`;
// after FATAL the simulation is over and `lpu_error` says why.
//
// A cycle: the harness drives its outputs, the design settles with the clock low, both sides' handshakes are read, and
// the clock rises. Nothing that the harness drives depends on the design in the same cycle.

#include <algorithm>
#include <exception>
#include <iterator>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "Vlpu.h"
#include "axi_memory.h"
#include "memories.h"
#include "ports.h"
#include "verilated.h"

namespace {

template <class T>
using Plain = std::remove_reference_t<T>;
using Memory = AxiMemory<CData, Plain<decltype(Vlpu::m_axi00_araddr)>, Plain<decltype(Vlpu::m_axi00_rdata)>,
                         Plain<decltype(Vlpu::m_axi00_wstrb)>>;

constexpr uint64_t REGISTER_LIMIT = 100000;  // cycles for one register access

enum Answer { FATAL = -1, OK = 0, LATE = 1, REFUSED = 2 };

thread_local std::string* complaint = nullptr;

#define PORT(n)                                                                                                     \
    Memory::Port {                                                                                                  \
        t.m_axi##n##_arvalid, t.m_axi##n##_arready, t.m_axi##n##_arid, t.m_axi##n##_arlen, t.m_axi##n##_arsize,     \
            t.m_axi##n##_arburst, t.m_axi##n##_araddr, t.m_axi##n##_rvalid, t.m_axi##n##_rready, t.m_axi##n##_rid,  \
            t.m_axi##n##_rresp, t.m_axi##n##_rlast, t.m_axi##n##_rdata, t.m_axi##n##_awvalid, t.m_axi##n##_awready, \
            t.m_axi##n##_awid, t.m_axi##n##_awlen, t.m_axi##n##_awsize, t.m_axi##n##_awburst, t.m_axi##n##_awaddr,  \
            t.m_axi##n##_wvalid, t.m_axi##n##_wready, t.m_axi##n##_wlast, t.m_axi##n##_wdata, t.m_axi##n##_wstrb,   \
            t.m_axi##n##_bvalid, t.m_axi##n##_bready, t.m_axi##n##_bid, t.m_axi##n##_bresp                          \
    },

std::vector<Memory::Port> ports(Vlpu& t) { return {FOR_EACH_ENGINE(PORT)}; }

class Harness {
public:
    explicit Harness(uint64_t seed) : context_(new VerilatedContext), top_(new Vlpu(context_.get(), "lpu")) {
        unsigned index = 0;
        for (const auto& port : ports(*top_)) memories.ports.emplace_back(port, index++, seed);
        memories.split(ENGINES);
        top_->clk = 0;
        reset(4);
    }
    ~Harness() { top_->final(); }

    void reset(unsigned cycles) {
        top_->s_axil_awvalid = top_->s_axil_wvalid = top_->s_axil_bready = 0;
        top_->s_axil_arvalid = top_->s_axil_rready = 0;
        memories.reset();
        top_->rst = 1;
        for (unsigned i = 0; i < cycles; ++i) {
            low();
            high();
        }
        top_->rst = 0;
    }

    bool step() {
        memories.drive(cycles);
        low();
        memories.sample(cycles);
        if (error.empty()) error = memories.error;
        record();
        sample_registers();
        high();
        ++cycles;
        drive_registers();
        return error.empty();
    }

    int write(uint32_t address, uint32_t value) {
        top_->s_axil_awaddr = address;
        top_->s_axil_wdata = value;
        top_->s_axil_wstrb = 0xF;
        top_->s_axil_awvalid = top_->s_axil_wvalid = top_->s_axil_bready = 1;
        return access(address);
    }

    int read(uint32_t address, uint32_t& value) {
        top_->s_axil_araddr = address;
        top_->s_axil_arvalid = top_->s_axil_rready = 1;
        const int answer = access(address);
        value = data_;
        return answer;
    }

    Memories<Memory> memories;
    std::vector<uint8_t> trace;
    bool tracing = false;
    uint64_t cycles = 0;
    std::string error;

private:
    void low() {
        top_->clk = 0;
        evaluate();
    }
    void high() {
        top_->clk = 1;
        evaluate();
    }
    void evaluate() {
        complaint = &error;
        top_->eval();
        complaint = nullptr;
    }

    void record() {
#if EXCHANGE_BYTES
        if (!tracing || !top_->debug_exchange_valid) return;
        const auto* word = reinterpret_cast<const uint8_t*>(&top_->debug_exchange_word);
        trace.insert(trace.end(), word, word + EXCHANGE_BYTES);
#endif
    }

    void sample_registers() {
        took_aw_ = top_->s_axil_awvalid && top_->s_axil_awready;
        took_w_ = top_->s_axil_wvalid && top_->s_axil_wready;
        took_ar_ = top_->s_axil_arvalid && top_->s_axil_arready;
        took_b_ = top_->s_axil_bready && top_->s_axil_bvalid;
        took_r_ = top_->s_axil_rready && top_->s_axil_rvalid;
        if (took_b_) response_ = top_->s_axil_bresp;
        if (took_r_) {
            response_ = top_->s_axil_rresp;
            data_ = top_->s_axil_rdata;
        }
    }
    void drive_registers() {
        if (took_aw_) top_->s_axil_awvalid = 0;
        if (took_w_) top_->s_axil_wvalid = 0;
        if (took_ar_) top_->s_axil_arvalid = 0;
        if (took_b_) top_->s_axil_bready = 0;
        if (took_r_) top_->s_axil_rready = 0;
    }

    int access(uint32_t address) {
        const uint64_t end = cycles + REGISTER_LIMIT;
        while (cycles < end) {
            if (!step()) return FATAL;
            if (!(took_b_ || took_r_)) continue;
            if (!top_->s_axil_awvalid && !top_->s_axil_wvalid && !top_->s_axil_arvalid)
                return response_ ? REFUSED : OK;
            error = "the register port answered before it took the request, at byte " + std::to_string(address);
            return FATAL;
        }
        error = "no answer from the register at byte " + std::to_string(address);
        return FATAL;
    }

    std::unique_ptr<VerilatedContext> context_;
    std::unique_ptr<Vlpu> top_;
    bool took_aw_ = false, took_w_ = false, took_ar_ = false, took_b_ = false, took_r_ = false;
    uint32_t response_ = 0, data_ = 0;
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

void* lpu_new(uint64_t seed) { return new Harness(seed); }
void lpu_delete(void* h) { delete static_cast<Harness*>(h); }
const char* lpu_error(void* h) { return static_cast<Harness*>(h)->error.c_str(); }
uint64_t lpu_cycles(void* h) { return static_cast<Harness*>(h)->cycles; }
void lpu_reset(void* h, uint32_t cycles) { static_cast<Harness*>(h)->reset(cycles); }

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
}
