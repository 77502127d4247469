/* A budget for retries: every call earns a part of one, every retry spends one. So retries stay
 * a fixed share of the calls however much fails, and cannot become the storm that keeps a
 * sick service down. A token bucket in thousandths, so that it needs no fractions.
 */
#ifndef BASE_BUDGET_H
#define BASE_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#define BASE_BUDGET_ONE 1000u

struct base_budget {
	uint32_t held;  /* thousandths */
	uint32_t most;  /* thousandths: what quiet times may save up */
	uint32_t share; /* thousandths of a retry that a call earns: 100 is one in ten */
};

static inline void base_budget_earn(struct base_budget *b)
{
	b->held = b->held + b->share < b->most ? b->held + b->share : b->most;
}

static inline bool base_budget_spend(struct base_budget *b)
{
	if (b->held < BASE_BUDGET_ONE)
		return false;
	b->held -= BASE_BUDGET_ONE;
	return true;
}

#endif
