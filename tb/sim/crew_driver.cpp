// Rounds of a crew: prints "ok" when every task was done exactly once in every round, and the tasks' home threads.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "crew.h"

struct alignas(64) Task {
    uint32_t rounds = 0;
};

int main(int, char** arguments) {
    const unsigned threads = std::atoi(arguments[1]), count = std::atoi(arguments[2]);
    const uint32_t rounds = std::atoi(arguments[3]);
    std::vector<unsigned> homes(count);
    for (unsigned task = 0; task < count; ++task) homes[task] = task * threads / count;
    std::vector<Task> tasks(count);
    std::atomic<uint32_t> round{0}, wrong{0};
    {
        Crew crew(homes, [&](unsigned task) {
            if (tasks[task].rounds++ != round) ++wrong;
            std::this_thread::sleep_for(std::chrono::microseconds(task % 3));
        });
        for (; round < rounds && !wrong; ++round) {
            if (round % 1000 == 500) std::this_thread::sleep_for(std::chrono::milliseconds(5));  // helpers fall asleep
            crew.run();
            for (const Task& task : tasks) wrong += task.rounds != round + 1;
        }
    }
    std::puts(wrong ? "wrong" : "ok");
    return 0;
}
