/* Those who ask about events, and wait for their ends. */
#ifndef BROKER_CORE_WATCH_H
#define BROKER_CORE_WATCH_H

#include "broker/core/core.h"
#include "broker/core/delivery.h"
#include "broker/core/ledger.h"

/* The delivery has ended, durably; the record goes right after. outcome's result block, when there is one,
 * holds the packed JournalResult. */
void brk_query_ended(
	struct brk_core *core, const struct brk_delivery *delivery, const struct brk_end *end);
/* The delivery is not this broker's any more: another one will tell. */
void brk_query_forgotten(struct brk_core *core, const struct brk_delivery *delivery);

#endif
