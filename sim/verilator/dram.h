// One DRAM channel with its controller: bank groups, banks, open rows, refresh, and a first-ready, first-come scheduler
// over bounded queues. Time is counted in clocks of the DRAM; what is due is reported in cycles of the engines' clock.
//
// It works from event to event: a clock at which no command can be issued costs nothing.

#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

constexpr uint64_t NEVER = ~0ull;

// `name value` lines, as memory.py writes them.
class Settings {
public:
    explicit Settings(const std::string& text) {
        std::istringstream lines(text);
        for (std::string name, value; lines >> name >> value;) values_[name] = value;
    }
    const std::string& word(const std::string& name) const {
        const auto found = values_.find(name);
        if (found == values_.end()) throw std::runtime_error("the memory model lacks its setting " + name);
        return found->second;
    }
    uint64_t number(const std::string& name) const { return std::stoull(word(name)); }

private:
    std::map<std::string, std::string> values_;
};

// Two clocks that started together: `dram` clocks pass in the time of `engine` cycles.
struct Clocks {
    uint64_t engine, dram;

    uint64_t clock_at(uint64_t cycle) const { return (cycle * dram + engine - 1) / engine; }  // first one in the cycle
    uint64_t cycle_at(uint64_t clock) const { return (clock * engine + dram - 1) / dram; }    // first one not before it
};

// Where a port's bytes lie in the DRAM: from AXI address `base` on, pages of 2^`page_shift` bytes are `stride` apart.
struct Window {
    uint64_t base = 0, start = 0, stride = 4096;
    unsigned page_shift = 12;

    uint64_t operator()(uint64_t address) const {
        const uint64_t offset = address - base;
        return start + (offset >> page_shift) * stride + (offset & ((1ull << page_shift) - 1));
    }
};

struct DramCounts {
    uint64_t bursts[2] = {};  // [write]
    uint64_t hits = 0, misses = 0, conflicts = 0, activates = 0, refreshes = 0, turnarounds = 0;
    uint64_t busy = 0, refresh = 0;  // clocks
};

class Dram {
public:
    enum Kind : uint32_t { ACTIVATE, PRECHARGE, READ, WRITE, PRECHARGE_ALL, REFRESH };
    struct Command {
        uint64_t clock;
        uint32_t kind, group, bank, row;
    };

    // `first`: the clock at which it starts, with all banks closed; `phase`: clocks from there to the first refresh.
    Dram(const Settings& s, Clocks clocks, unsigned ports, uint64_t first, uint64_t phase)
        : clocks_(clocks), windows_(ports), now_(first), next_(first + phase), refresh_due_(first + phase) {
        burst_bytes_ = s.number("burst_bytes");
        const struct {
            const char* name;
            uint32_t& value;
        } all[] = {{"burst_clocks", burst_}, {"cl", cl_}, {"cwl", cwl_}, {"rcd", rcd_}, {"rp", rp_}, {"ras", ras_},
                   {"ccd_s", ccd_s_}, {"ccd_l", ccd_l_}, {"rrd_s", rrd_s_}, {"rrd_l", rrd_l_}, {"faw", faw_},
                   {"wr", wr_}, {"wtr_s", wtr_s_}, {"wtr_l", wtr_l_}, {"rtp", rtp_}, {"rtw", rtw_}, {"rfc", rfc_},
                   {"refi", refi_}, {"two_buses", two_buses_}, {"patience", patience_},
                   {"write_patience", write_patience_}, {"write_high", high_}, {"write_low", low_},
                   {"refresh_burst", refresh_burst_}, {"bank_xor", bank_xor_}};
        for (const auto& entry : all) entry.value = static_cast<uint32_t>(s.number(entry.name));
        room_[0] = s.number("read_queue");
        room_[1] = s.number("write_queue");
        groups_.resize(s.number("groups"));
        per_group_ = s.number("banks");
        banks_.resize(groups_.size() * per_group_);
        for (unsigned d = 0; d < 2; ++d) waiting_[d].resize(ports);
        map(s.word("mapping"));
    }

    unsigned burst_bytes() const { return burst_bytes_; }
    void window(unsigned port, const Window& window) { windows_[port] = window; }

    // A port asks for `size` bytes from an AXI address, from now on. `due` has an entry for each DRAM burst
    // that they touch; it gets the cycle in which its data is there (read) or in which the controller has taken it
    // (write), NEVER until that is known. It must stay in place until then, or until `reset`.
    void request(unsigned port, bool write, uint64_t address, uint64_t size, uint64_t* due) {
        const uint64_t first = address / burst_bytes_, end = (address + size - 1) / burst_bytes_ + 1;
        std::fill(due, due + (end - first), NEVER);
        waiting_[write][port].push_back({first, end, due});
        ++asked_[write];
        next_ = std::min(next_, now_);
    }

    // Do all that happens before clock `end`.
    void advance(uint64_t end) {
        while (next_ < end) {
            now_ = next_;
            next_ = std::max(step(now_), now_ + 1);
        }
        now_ = end;
    }

    // Forget all requests. Rows stay open and refresh goes on.
    void reset() {
        for (unsigned d = 0; d < 2; ++d) {
            for (auto& q : waiting_[d]) q.clear();
            for (auto& b : banks_) b.pending[d].clear();
            asked_[d] = count_[d] = busy_banks_[d] = 0;
        }
        passed_ = 0;
        writing_ = false;
    }

    DramCounts counts;
    std::vector<Command>* log = nullptr;

private:
    struct Request {
        uint64_t row, number, born;  // place in the order of arrival; requests of its direction served before
        uint64_t* due;            // of a read; that of a write is set on arrival
        bool opened, conflict;    // its row was opened, another one closed, for it
    };
    struct Stream {
        uint64_t next, end;  // DRAM bursts
        uint64_t* due;
    };
    struct Bank {
        std::vector<Request> pending[2];  // [write], oldest first
        bool open = false;
        uint64_t row = 0, activate = 0, precharge = 0, column = 0;  // earliest clock of each command
    };
    struct Group {
        uint64_t activate = 0, column[2] = {};
    };
    struct Field {
        char name;
        unsigned shift, bits, at;  // position in the burst's number, width, position within the named coordinate
    };
    struct Choice {
        bool valid = false, starved = false, column = false, opens = false;
        unsigned bank = 0, index = 0, direction = 0;
        uint64_t number = 0;

        bool before(const Choice& o) const {
            if (!o.valid) return true;
            if (starved != o.starved) return starved;
            if (column != o.column) return column;
            return number < o.number;
        }
    };

    // -- addresses -------------------------------------------------------------------------------------------------

    // One letter a bit of the burst's number, the lowest first: r(ow), b(ank), g(roup), c(olumn).
    void map(const std::string& letters) {
        std::map<char, unsigned> have;
        for (unsigned i = 0; i < letters.size(); ++i) {
            const char c = letters[i];
            if (i && letters[i - 1] == c)
                ++fields_.back().bits;
            else
                fields_.push_back({c, i, 1, have[c]});
            ++have[c];
        }
    }

    void enter(unsigned direction, uint64_t address, uint64_t* due) {
        const uint64_t burst = address / burst_bytes_;
        uint64_t row = 0, bank = 0, group = 0;
        for (const Field& f : fields_) {
            const uint64_t value = (burst >> f.shift & ((1ull << f.bits) - 1)) << f.at;
            if (f.name == 'r') row |= value;
            if (f.name == 'b') bank |= value;
            if (f.name == 'g') group |= value;
        }
        if (bank_xor_) bank ^= row & (per_group_ - 1);
        const unsigned index = group * per_group_ + bank;
        banks_[index].pending[direction].push_back({row, arrived_++, served_[direction], due, false, false});
        busy_banks_[direction] |= 1ull << index;
        ++count_[direction];
        if (direction) *due = clocks_.cycle_at(now_);
    }

    // Ports take turns, a DRAM burst each, while the queue has room.
    void fill() {
        for (unsigned d = 0; d < 2; ++d)
            while (asked_[d] && count_[d] < room_[d]) {
                const unsigned port = turn_[d];
                turn_[d] = (port + 1) % windows_.size();
                auto& queue = waiting_[d][port];
                if (queue.empty()) continue;
                Stream& s = queue.front();
                enter(d, windows_[port](s.next * burst_bytes_), s.due++);
                if (++s.next == s.end) {
                    queue.pop_front();
                    --asked_[d];
                }
            }
    }

    // -- commands ----------------------------------------------------------------------------------------------------

    // What happens at clock `t`; returns the next clock at which something may.
    uint64_t step(uint64_t t) {
        fill();
        for (; t >= refresh_due_; refresh_due_ += refi_) ++owed_;
        if (!refreshing_ && owed_ && (owed_ >= refresh_burst_ || !(count_[0] + count_[1]))) {
            refreshing_ = true;
            refresh_began_ = t;
        }
        if (refreshing_) return refresh(t);
        choose_direction();
        return std::min(schedule(t), refresh_due_);
    }

    // Close all rows, then refresh as often as is owed.
    uint64_t refresh(uint64_t t) {
        uint64_t ready = t;
        bool open = false;
        for (const Bank& b : banks_) open |= b.open;
        for (const Bank& b : banks_)
            if (!open || b.open) ready = std::max(ready, open ? b.precharge : b.activate);
        if (ready > t) return ready;
        for (Bank& b : banks_) {
            b.activate = std::max(b.activate, t + (open ? rp_ : rfc_));
            b.open = false;
        }
        note(t, open ? PRECHARGE_ALL : REFRESH, 0, 0);
        if (open) return t + rp_;
        ++counts.refreshes;
        if (--owed_ == 0) {
            refreshing_ = false;
            counts.refresh += t + rfc_ - refresh_began_;
        }
        return t + rfc_;
    }

    // Reads go first. Writes are collected, and drained when there are many, when there is nothing to read, or when
    // many reads have gone by.
    void choose_direction() {
        if (writing_ && (!count_[1] || (count_[1] <= drain_to_ && count_[0]))) writing_ = false;
        if (writing_ || !count_[1]) return;
        const bool waited = passed_ >= write_patience_;
        if (waited || count_[1] >= high_ || !count_[0]) {
            writing_ = true;
            drain_to_ = waited ? 0 : low_;
            passed_ = 0;
        }
    }

    uint64_t schedule(uint64_t t) {
        Choice column, row;
        uint64_t wake = NEVER;
        uint64_t banks = busy_banks_[writing_];
        if (writing_) banks |= busy_banks_[0];  // rows of the reads to come are opened meanwhile
        for (; banks; banks &= banks - 1) {
            const unsigned index = __builtin_ctzll(banks);
            Choice c;
            const uint64_t at = candidate(index, c);
            if (!c.valid) continue;
            if (at > t) {
                wake = std::min(wake, at);
                continue;
            }
            Choice& best = c.column ? column : row;
            if (c.before(best)) best = c;
        }
        if (!column.valid && !row.valid) return wake;
        const bool column_first = column.valid && column.before(row);
        if (column.valid && (two_buses_ || column_first)) access(t, column);
        if (row.valid && (two_buses_ || !column_first)) change_row(t, row);
        return t + 1;
    }

    // The command that a bank needs next, and the earliest clock for it.
    uint64_t candidate(unsigned index, Choice& c) const {
        const Bank& bank = banks_[index];
        const Group& group = groups_[index / per_group_];
        c.bank = index;
        c.direction = writing_ && !bank.pending[1].empty();
        const auto& pending = bank.pending[c.direction];
        c.starved = served_[c.direction] - pending[0].born >= patience_;
        if (bank.open) {
            while (c.index < pending.size() && pending[c.index].row != bank.row) ++c.index;
            const bool hit = c.index < pending.size() && (c.index == 0 || !c.starved);
            c.column = hit;
            if (!hit) c.index = 0;
            c.number = pending[c.index].number;
            c.valid = !hit || c.direction == writing_;
            return hit ? std::max({bank.column, group.column[c.direction], column_[c.direction]}) : bank.precharge;
        }
        c.valid = c.opens = true;
        c.number = pending[0].number;
        return std::max({bank.activate, group.activate, activate_, window_[activates_ % 4]});
    }

    void change_row(uint64_t t, const Choice& c) {
        Bank& bank = banks_[c.bank];
        Request& request = bank.pending[c.direction][0];
        note(t, c.opens ? ACTIVATE : PRECHARGE, c.bank, c.opens ? request.row : bank.row);
        if (!c.opens) {
            bank.open = false;
            bank.activate = std::max(bank.activate, t + rp_);
            request.conflict = true;
            return;
        }
        bank.open = request.opened = true;
        bank.row = request.row;
        bank.column = t + rcd_;
        bank.precharge = t + ras_;
        groups_[c.bank / per_group_].activate = t + rrd_l_;
        activate_ = t + rrd_s_;
        window_[activates_++ % 4] = t + faw_;
        ++counts.activates;
    }

    void access(uint64_t t, const Choice& c) {
        Bank& bank = banks_[c.bank];
        Group& group = groups_[c.bank / per_group_];
        auto& pending = bank.pending[c.direction];
        const Request request = pending[c.index];
        note(t, c.direction ? WRITE : READ, c.bank, bank.row);
        const uint64_t end = t + (c.direction ? cwl_ : cl_) + burst_;  // of its data on the bus
        column_[c.direction] = t + std::max(ccd_s_, burst_);
        group.column[c.direction] = t + std::max(ccd_l_, burst_);
        if (c.direction) {
            bank.precharge = std::max(bank.precharge, end + wr_);
            column_[0] = end + wtr_s_;
            for (Group& g : groups_) g.column[0] = std::max(g.column[0], end + (&g == &group ? wtr_l_ : wtr_s_));
        } else {
            bank.precharge = std::max(bank.precharge, t + rtp_);
            column_[1] = std::max(column_[1], t + rtw_);
            *request.due = clocks_.cycle_at(end);
        }
        ++(!request.opened ? counts.hits : request.conflict ? counts.conflicts : counts.misses);
        ++counts.bursts[c.direction];
        counts.busy += burst_;
        counts.turnarounds += counts.bursts[!c.direction] && last_ != c.direction;
        last_ = c.direction;
        ++served_[c.direction];
        if (!c.direction && count_[1]) ++passed_;
        pending.erase(pending.begin() + c.index);
        if (pending.empty()) busy_banks_[c.direction] &= ~(1ull << c.bank);
        --count_[c.direction];
    }

    void note(uint64_t t, Kind kind, unsigned bank, uint64_t row) {
        if (log) log->push_back({t, kind, bank / per_group_, bank % per_group_, static_cast<uint32_t>(row)});
    }

    Clocks clocks_;
    std::vector<Window> windows_;
    uint64_t now_, next_, refresh_due_;
    unsigned burst_bytes_, per_group_;
    uint32_t burst_, cl_, cwl_, rcd_, rp_, ras_, ccd_s_, ccd_l_, rrd_s_, rrd_l_, faw_, wr_, wtr_s_, wtr_l_, rtp_, rtw_,
        rfc_, refi_, two_buses_, patience_, write_patience_, high_, low_, refresh_burst_, bank_xor_;
    uint64_t room_[2];
    std::vector<Field> fields_;
    std::vector<Bank> banks_;  // of group 0, then of group 1 …
    std::vector<Group> groups_;
    uint64_t column_[2] = {}, activate_ = 0, window_[4] = {};  // earliest clocks for any bank
    uint64_t activates_ = 0, arrived_ = 0, served_[2] = {}, passed_ = 0;
    std::vector<std::deque<Stream>> waiting_[2];  // [write][port]: not yet in the queue
    uint64_t asked_[2] = {}, count_[2] = {}, busy_banks_[2] = {};  // streams, requests in the queue, banks they need
    unsigned turn_[2] = {};
    uint64_t drain_to_ = 0, refresh_began_ = 0, owed_ = 0;
    bool writing_ = false, refreshing_ = false;
    unsigned last_ = 0;
};
