/* A service without workers. Its last one left just now, or the broker has just started and knows of it
 * from Redis alone: mostly something is being restarted, and a worker is here again in a moment. So for
 * conf.hope_ms its calls are taken and wait. Then the ones that came meanwhile are told NO_WORKER, as
 * all later ones are at once. Calls that waited before, or were handed back, wait on: until a worker
 * comes, or their deadline.
 */
#ifndef BROKER_CORE_HOPE_H
#define BROKER_CORE_HOPE_H

#include <stdbool.h>
#include <stdint.h>

struct brk_core;
struct brk_service;

void brk_hope_begin(struct brk_core *core, struct brk_service *service); /* n_ready is 0, since now */
void brk_hope_forget(struct brk_core *core, struct brk_service *service); /* a worker is there, or it goes */
bool brk_hope_is_over(const struct brk_core *core, const struct brk_service *service);

void brk_hope_tick(struct brk_core *core);
uint64_t brk_hope_due(const struct brk_core *core);

#endif
