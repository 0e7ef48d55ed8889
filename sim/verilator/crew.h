// A few threads that do the same tasks in round after round, each task once a round, for rounds of microseconds.
//
// A task has a home thread, because its data lies in that processor's cache. The caller of `run` is thread 0. A helper
// that does not come in time, because the system gave its processor to somebody else, loses its tasks to the caller for
// that round and, until it is back, for those to come: a busy machine costs no more than a single thread would take.
// Waiting is done with an eye on the rest of the machine: first actively, then yielding, at last asleep.

#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include <sched.h>

class Crew {
public:
    // `homes`: for each task its thread, from 0 on; `work` does one task.
    Crew(const std::vector<unsigned>& homes, std::function<void(unsigned)> work)
        : homes_(homes), work_(std::move(work)), claims_(new Claim[homes.size()]) {
        unsigned threads = 1;
        for (unsigned home : homes) threads = std::max(threads, home + 1);
        seen_.reset(new Claim[threads]);
        for (unsigned t = 1; t < threads; ++t) helpers_.emplace_back([this, t] { help(t); });
    }
    ~Crew() {
        stop_ = true;
        publish();
        for (auto& helper : helpers_) helper.join();
    }

    void run() {
        const unsigned count = static_cast<unsigned>(homes_.size());
        if (helpers_.empty()) {
            for (unsigned task = 0; task < count; ++task) work_(task);
            return;
        }
        left_.store(count, std::memory_order_relaxed);
        const uint32_t round = publish();
        take(round, [this, round](unsigned home) {
            return home == 0 || round - seen_[home].round.load(std::memory_order_relaxed) > 1;
        });
        Patience patience;
        bool all = false;
        while (left_.load(std::memory_order_acquire)) {
            if (patience.wait() == Patience::ACTIVE || all) continue;
            take(round, [](unsigned) { return true; });
            all = true;
        }
    }

private:
    struct alignas(64) Claim {
        std::atomic<uint32_t> round{0};
    };

    // Waiting for somebody: actively for some microseconds, then leaving the processor to others.
    class Patience {
    public:
        enum State { ACTIVE, YIELDING, LONG };
        State wait() {
            if (state_ != ACTIVE) sched_yield();
            else pause();
            if (++turns_ % 32 == 0) {
                const auto now = std::chrono::steady_clock::now();
                if (turns_ == 32) start_ = now;
                state_ = now - start_ < std::chrono::microseconds(50) ? ACTIVE
                       : now - start_ < std::chrono::milliseconds(2) ? YIELDING : LONG;
            }
            return state_;
        }

    private:
        static void pause() {
#if defined(__x86_64__)
            __builtin_ia32_pause();
#elif defined(__aarch64__)
            asm volatile("yield");
#endif
        }
        unsigned turns_ = 0;
        State state_ = ACTIVE;
        std::chrono::steady_clock::time_point start_;
    };

    uint32_t publish() {
        const uint32_t round = round_.fetch_add(1) + 1;
        round_.notify_all();
        return round;
    }

    template <class Mine>
    void take(uint32_t round, Mine mine) {
        for (unsigned task = 0; task < homes_.size(); ++task) {
            uint32_t before = round - 1;
            if (!mine(homes_[task]) || !claims_[task].round.compare_exchange_strong(before, round)) continue;
            work_(task);
            left_.fetch_sub(1, std::memory_order_release);
        }
    }

    void help(unsigned me) {
        uint32_t seen = 0;
        while (true) {
            Patience patience;
            uint32_t round;
            while ((round = round_.load(std::memory_order_acquire)) == seen)
                if (patience.wait() == Patience::LONG) round_.wait(seen);
            if (stop_) return;
            seen = round;
            seen_[me].round.store(seen, std::memory_order_relaxed);
            take(seen, [me](unsigned home) { return home == me; });
        }
    }

    const std::vector<unsigned> homes_;
    const std::function<void(unsigned)> work_;
    std::unique_ptr<Claim[]> claims_, seen_;  // of each task, the last round in which it was begun; of each helper, seen
    alignas(64) std::atomic<uint32_t> round_{0};
    alignas(64) std::atomic<uint32_t> left_{0};
    std::atomic<bool> stop_{false};
    std::vector<std::thread> helpers_;
};
