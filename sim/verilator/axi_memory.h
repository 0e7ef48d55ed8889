// One AXI4 port of a memory: flat bytes, which other ports may share, behind a port of the design, with latency, random stalls, injected errors and checks of
// what the design does; with a DRAM behind it, data takes the time of the DRAM before the latency begins. Reads take their data when they are answered and writes become visible when they are
// acknowledged, so that a design which does not wait for its acknowledgements reads old data.
//
// Answers keep their order within an ID. With random stalls the order between IDs is random too, from beat to beat.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "dram.h"

// The channels of a port, in the order of the stall probabilities.
enum Channel { AR, R, AW, W, B, CHANNELS };

// xorshift64*: small, fast, the same everywhere.
class Random {
public:
    explicit Random(uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15ull + 0x2545F4914F6CDD1Dull) {}

    uint32_t next() {
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        return static_cast<uint32_t>((state_ * 0x2545F4914F6CDD1Dull) >> 32);
    }

private:
    uint64_t state_;
};

// What a memory holds, from address `base` on.
struct Content {
    uint64_t base = 0;
    std::vector<uint8_t> bytes;
};

// References to the signals of one port of the Verilated model; `Data` and `Strobe` are integers or word arrays.
template <class Flag, class Address, class Data, class Strobe>
struct AxiPort {
    Flag &arvalid, &arready, &arid, &arlen, &arsize, &arburst;
    Address& araddr;
    Flag &rvalid, &rready, &rid, &rresp, &rlast;
    Data& rdata;
    Flag &awvalid, &awready, &awid, &awlen, &awsize, &awburst;
    Address& awaddr;
    Flag &wvalid, &wready, &wlast;
    Data& wdata;
    Strobe& wstrb;
    Flag &bvalid, &bready, &bid, &bresp;
};

template <class Flag, class Address, class Data, class Strobe>
class AxiMemory {
public:
    using Port = AxiPort<Flag, Address, Data, Strobe>;
    static constexpr unsigned BEAT = sizeof(Data);
    static constexpr unsigned OKAY = 0, SLVERR = 2, DECERR = 3, INCR = 1;
    static_assert(sizeof(Strobe) * 8 == BEAT, "one strobe bit a byte");

    AxiMemory(const Port& port, unsigned index, uint64_t seed)
        : p_(port), random_(seed * 64 + index), name_("engine " + std::to_string(index)) {}

    // -- what the host sets ---------------------------------------------------------------------------------------

    // The memory; it has to be given before anything is asked for.
    void attach(Content* content) { content_ = content; }
    // Take the time of reads and writes from port `port` of a DRAM, or none (null); at most `bursts` of each in flight.
    void attach(Dram* dram, unsigned port, uint64_t bursts) {
        dram_ = dram;
        dram_port_ = port;
        limit_ = bursts;
    }
    void latency(uint32_t read, uint32_t write) {
        read_latency_ = read;
        write_latency_ = write;
    }
    void stall(const double* probability) {
        reorder_ = false;
        for (unsigned c = 0; c < CHANNELS; ++c) {
            stall_[c] = static_cast<uint64_t>(probability[c] * 4294967296.0);
            reorder_ |= stall_[c] != 0;
        }
    }
    void fail(bool write, uint64_t start, uint64_t end) { failing_[write].push_back({start, end}); }
    void heal() {
        failing_[0].clear();
        failing_[1].clear();
        hang_at_ = NEVER;
    }
    void hang(uint64_t cycle) { hang_at_ = cycle; }

    // A hardware reset forgets what is in flight, not the contents.
    void reset() {
        for (auto& q : reads_) q.clear();
        for (auto& q : done_) q.clear();
        addresses_.clear();
        beats_.clear();
        p_.arready = p_.rvalid = p_.awready = p_.wready = p_.bvalid = 0;
        took_r_ = took_b_ = false;
        seen_ar_ = seen_aw_ = Request{};
        seen_w_ = WriteBeat{};
    }

    uint64_t outstanding_reads() const { return reads_[0].size() + reads_[1].size(); }
    uint64_t outstanding_writes() const {
        return done_[0].size() + done_[1].size() + addresses_.size() + beats_.size();
    }

    uint64_t read_bursts = 0, read_beats = 0, write_bursts = 0, write_beats = 0;
    std::string error;

    // -- a cycle: drive before the clock edge, sample once the design has answered ------------------------------------

    void drive(uint64_t cycle) {
        const bool alive = cycle < hang_at_;
        if (took_r_) p_.rvalid = took_r_ = false;
        if (took_b_) p_.bvalid = took_b_ = false;
        p_.arready = alive && outstanding_reads() < limit_ && !stalls(AR);
        p_.awready = alive && addresses_.size() + done_[0].size() + done_[1].size() < limit_ && !stalls(AW);
        p_.wready = alive && beats_.size() < QUEUE && !stalls(W);
        if (!p_.rvalid && alive) offer_read(cycle);
        if (!p_.bvalid && alive) offer_acknowledge(cycle);
    }

    void sample(uint64_t cycle) {
        if (p_.arvalid || seen_ar_.valid) sample_read(cycle);
        if (p_.rvalid && p_.rready) {
            took_r_ = true;
            ++read_beats;
            auto& queue = reads_[p_.rid];
            if (++queue.front().answered == queue.front().beats) queue.pop_front();
        }
        if (p_.awvalid || seen_aw_.valid || p_.wvalid || seen_w_.valid) sample_write(cycle);
        if (p_.bvalid && p_.bready) {
            took_b_ = true;
            done_[p_.bid].pop_front();
        }
    }

private:
    static constexpr size_t QUEUE = 256;

    struct Request {
        bool valid = false;
        uint64_t address = 0;
        unsigned length = 0, size = 0, burst = 0, id = 0;
        bool operator!=(const Request& o) const {
            return valid != o.valid || address != o.address || length != o.length || size != o.size ||
                   burst != o.burst || id != o.id;
        }
    };
    struct WriteBeat {
        bool valid = false;
        Data data{};
        Strobe strobe{};
        bool last = false;
        bool operator!=(const WriteBeat& o) const {
            return valid != o.valid || last != o.last || std::memcmp(&data, &o.data, BEAT) ||
                   std::memcmp(&strobe, &o.strobe, sizeof strobe);
        }
    };
    struct Burst {
        uint64_t address;
        unsigned beats, id, answered;
        std::vector<uint64_t> due;  // cycle from which the latency counts, for each DRAM burst or for all
        std::vector<WriteBeat> data;
    };
    struct Range {
        uint64_t start, end;
    };

    bool stalls(Channel c) { return stall_[c] && random_.next() < stall_[c]; }

    void complain(uint64_t cycle, const std::string& what) {
        if (error.empty()) error = name_ + ", cycle " + std::to_string(cycle) + ": " + what;
    }

    unsigned response(bool write, uint64_t address) const {
        if (address < content_->base || address - content_->base + BEAT > content_->bytes.size()) return DECERR;
        const uint64_t offset = address - content_->base;
        for (const Range& r : failing_[write])
            if (offset < r.end && offset + BEAT > r.start) return SLVERR;
        return OKAY;
    }

    // The ID whose oldest burst is answered next, or -1; `due` says of a burst when it can be.
    template <class Due>
    int choose(const std::deque<Burst> (&queues)[2], uint64_t cycle, Due due) {
        const uint64_t due0 = queues[0].empty() ? NEVER : due(queues[0].front());
        const uint64_t due1 = queues[1].empty() ? NEVER : due(queues[1].front());
        if (due0 <= cycle && due1 <= cycle) return reorder_ ? random_.next() >> 31 : due1 < due0;
        return due0 <= cycle ? 0 : due1 <= cycle ? 1 : -1;
    }

    // Start the wait for a burst's memory.
    void ask(Burst& burst, bool write, uint64_t cycle) {
        if (!dram_) {
            burst.due.assign(1, cycle);
            return;
        }
        const uint64_t size = static_cast<uint64_t>(burst.beats) * BEAT;
        const unsigned chunk = dram_->burst_bytes();
        burst.due.resize((burst.address + size - 1) / chunk - burst.address / chunk + 1);
        dram_->request(dram_port_, write, burst.address, size, burst.due.data());
    }

    static uint64_t later(uint64_t due, uint32_t latency) { return due == NEVER ? NEVER : due + latency; }

    // When the next beat of a read can be given: all DRAM bursts that it touches are there.
    uint64_t read_due(const Burst& burst) const {
        if (!dram_) return burst.due[0] + read_latency_;
        const unsigned chunk = dram_->burst_bytes();
        const uint64_t first = burst.address / chunk;
        const uint64_t begin = burst.address + static_cast<uint64_t>(burst.answered) * BEAT;
        const auto due = burst.due.begin();
        return later(*std::max_element(due + (begin / chunk - first), due + ((begin + BEAT - 1) / chunk - first + 1)),
                     read_latency_);
    }

    void offer_read(uint64_t cycle) {
        const int id = choose(reads_, cycle, [this](const Burst& b) { return read_due(b); });
        if (id < 0 || stalls(R)) return;
        const Burst& burst = reads_[id].front();
        const uint64_t address = burst.address + static_cast<uint64_t>(burst.answered) * BEAT;
        p_.rvalid = 1;
        p_.rid = id;
        p_.rlast = burst.answered + 1 == burst.beats;
        p_.rresp = response(false, address);
        if (p_.rresp == OKAY)
            std::memcpy(&p_.rdata, &content_->bytes[address - content_->base], BEAT);
        else
            std::memset(&p_.rdata, 0xEE, BEAT);
    }

    void offer_acknowledge(uint64_t cycle) {
        const int id = choose(done_, cycle, [this](const Burst& b) { return later(b.due.back(), write_latency_); });
        if (id < 0 || stalls(B)) return;
        const Burst& burst = done_[id].front();
        unsigned worst = OKAY;
        for (unsigned i = 0; i < burst.beats; ++i) {
            const uint64_t address = burst.address + static_cast<uint64_t>(i) * BEAT;
            const unsigned answer = response(true, address);
            if (answer == OKAY)
                store(address - content_->base, burst.data[i]);
            else
                worst = answer;
        }
        p_.bvalid = 1;
        p_.bid = id;
        p_.bresp = worst;
    }

    void store(uint64_t offset, const WriteBeat& beat) {
        uint8_t data[BEAT], strobe[sizeof(Strobe)];
        std::memcpy(data, &beat.data, BEAT);
        std::memcpy(strobe, &beat.strobe, sizeof strobe);
        for (unsigned i = 0; i < BEAT; ++i)
            if (strobe[i / 8] >> (i % 8) & 1) content_->bytes[offset + i] = data[i];
    }

    void check(uint64_t cycle, const char* channel, const Request& now, const Request& before) {
        const std::string name(channel);
        if (before.valid && now != before)
            complain(cycle, now.valid ? name + " changed while waiting" : name + "VALID dropped before READY");
        if (!now.valid) return;
        const uint64_t span = static_cast<uint64_t>(now.length + 1) * BEAT;
        if (1u << now.size != BEAT) complain(cycle, name + "SIZE is not the width of the port");
        if (now.burst != INCR) complain(cycle, name + "BURST is not INCR");
        if (now.address % BEAT) complain(cycle, name + "ADDR is not aligned to a beat");
        if (now.address / 4096 != (now.address + span - 1) / 4096) complain(cycle, name + " burst crosses 4 KiB");
    }

    void sample_read(uint64_t cycle) {
        Request now{p_.arvalid != 0, p_.araddr, p_.arlen, p_.arsize, p_.arburst, p_.arid};
        check(cycle, "AR", now, seen_ar_);
        seen_ar_ = now;
        if (!now.valid || !p_.arready) return;
        seen_ar_.valid = false;
        reads_[now.id].push_back({now.address, now.length + 1, now.id, 0, {}, {}});
        ask(reads_[now.id].back(), false, cycle);
        ++read_bursts;
    }

    void sample_write(uint64_t cycle) {
        Request address{p_.awvalid != 0, p_.awaddr, p_.awlen, p_.awsize, p_.awburst, p_.awid};
        check(cycle, "AW", address, seen_aw_);
        seen_aw_ = address;
        if (address.valid && p_.awready) {
            seen_aw_.valid = false;
            addresses_.push_back({address.address, address.length + 1, address.id, 0, {}, {}});
            ++write_bursts;
        }
        WriteBeat beat{p_.wvalid != 0, p_.wdata, p_.wstrb, p_.wlast != 0};
        if (seen_w_.valid && beat != seen_w_)
            complain(cycle, beat.valid ? "W changed while waiting" : "WVALID dropped before READY");
        seen_w_ = beat;
        if (beat.valid && p_.wready) {
            seen_w_.valid = false;
            beats_.push_back(beat);
            ++write_beats;
        }
        while (!addresses_.empty() && !beats_.empty()) pair_up(cycle);
    }

    // The oldest beat belongs to the oldest burst that is not complete.
    void pair_up(uint64_t cycle) {
        Burst& burst = addresses_.front();
        burst.data.push_back(beats_.front());
        beats_.pop_front();
        const bool complete = burst.data.size() == burst.beats;
        if (burst.data.back().last != complete) complain(cycle, "WLAST does not fit AWLEN");
        if (!complete) return;
        auto& queue = done_[burst.id];
        queue.push_back(std::move(burst));
        addresses_.pop_front();
        ask(queue.back(), true, cycle);
    }

    Port p_;
    Random random_;
    std::string name_;
    Content* content_ = nullptr;
    uint32_t read_latency_ = 1, write_latency_ = 1;
    uint64_t stall_[CHANNELS] = {};
    bool reorder_ = false;
    uint64_t hang_at_ = NEVER;
    Dram* dram_ = nullptr;
    unsigned dram_port_ = 0;
    uint64_t limit_ = QUEUE;  // bursts in flight of each direction
    std::vector<Range> failing_[2];  // [write]
    std::deque<Burst> reads_[2], done_[2];  // by ID
    std::deque<Burst> addresses_;
    std::deque<WriteBeat> beats_;
    Request seen_ar_, seen_aw_;
    WriteBeat seen_w_;
    bool took_r_ = false, took_b_ = false;  // answers that the design took in the last cycle
};
