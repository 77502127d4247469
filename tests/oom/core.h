/* A broker's core whose memory may run out, while "armed"; what surrounds it here, and what looks at each
 * input's actions (seen), has some. To be included before anything else of the core, by one file of
 * a test program, which declares seen before anything else, and says what it does.
 */
#ifndef TESTS_OOM_CORE_H
#define TESTS_OOM_CORE_H

#include "broker/core/core.h"

__attribute__((unused)) static bool armed;

#define IN_CORE(call) \
	__extension__({ \
		const struct brk_actions *out_; \
		if (armed) \
			OOM(out_ = (call)); \
		else \
			out_ = (call); \
		seen(out_); \
	})

#include "tests/oom/oom.h"

#define brk_core_message(...) IN_CORE(brk_core_message(__VA_ARGS__))
#define brk_core_gone(...)    IN_CORE(brk_core_gone(__VA_ARGS__))
#define brk_core_tick(...)    IN_CORE(brk_core_tick(__VA_ARGS__))
#define brk_core_entry(...)   IN_CORE(brk_core_entry(__VA_ARGS__))
#define brk_core_store(...)   IN_CORE(brk_core_store(__VA_ARGS__))
#define brk_core_told(...)    IN_CORE(brk_core_told(__VA_ARGS__))
#define brk_core_turn(...)    IN_CORE(brk_core_turn(__VA_ARGS__))
#define brk_core_drain(...)   IN_CORE(brk_core_drain(__VA_ARGS__))
#define brk_core_end(...)     IN_CORE(brk_core_end(__VA_ARGS__))

#define WITH_MEMORY(...) \
	do { \
		bool was_ = armed; \
		armed = false; \
		__VA_ARGS__; \
		armed = was_; \
	} while (0)

#endif
