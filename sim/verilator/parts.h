// Entries of arrays that are ports of a Verilated model: such a port is an integer, or words of 32 bits if it is wide.

#pragma once

#include <algorithm>
#include <cstdint>

namespace parts {

template <class T>
constexpr bool WIDE = requires(T value) { value[0]; };

template <class T>
[[gnu::always_inline]] inline uint32_t word(const T& value, unsigned n) {
    if constexpr (WIDE<T>)
        return value[n];
    else
        return static_cast<uint32_t>(uint64_t{value} >> 32 * n);
}

// Word `n` takes `bits` where `mask` is set.
template <class T>
[[gnu::always_inline]] inline void replace(T& value, unsigned n, uint32_t mask, uint32_t bits) {
    if constexpr (WIDE<T>)
        value[n] = (value[n] & ~mask) | bits;
    else
        value = static_cast<T>((value & ~(uint64_t{mask} << 32 * n)) | uint64_t{bits} << 32 * n);
}

// Entry `index`, of so many BITS, of the array `whole`.
template <unsigned BITS, class Part, class Whole>
[[gnu::always_inline]] inline void extract(Part& part, const Whole& whole, unsigned index) {
    for (unsigned n = 0; n < BITS; n += 32) {
        const unsigned count = std::min(32u, BITS - n), at = index * BITS + n, shift = at % 32;
        const uint32_t mask = ~0u >> (32 - count);
        uint32_t bits = word(whole, at / 32) >> shift;
        if (shift + count > 32) bits |= word(whole, at / 32 + 1) << (32 - shift);
        replace(part, n / 32, mask, bits & mask);
    }
}

template <unsigned BITS, class Whole, class Part>
[[gnu::always_inline]] inline void insert(Whole& whole, unsigned index, const Part& part) {
    for (unsigned n = 0; n < BITS; n += 32) {
        const unsigned count = std::min(32u, BITS - n), at = index * BITS + n, shift = at % 32;
        const uint32_t mask = ~0u >> (32 - count), bits = word(part, n / 32);
        replace(whole, at / 32, mask << shift, bits << shift);
        if (shift + count > 32) replace(whole, at / 32 + 1, mask >> (32 - shift), bits >> (32 - shift));
    }
}

}  // namespace parts
