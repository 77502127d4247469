/* The broker around its core: loop, ROUTER, Redis, signals and time. It turns what
 * happens into inputs of the core and the core's actions into messages, and decides
 * nothing itself.
 *
 *   router message  → brk_core_message        SEND_*              → router
 *   peer gone       → brk_core_gone           FORGET              → router
 *   entry in Redis  → brk_core_entry          KEEP_, DROP_SERVICE → catalog
 *   Redis up, down  → brk_core_store          ASK                 → carrier
 *   its settings    → brk_core_durable        LOG                 → base_log
 *   its replies     → brk_core_told
 *   due             → brk_core_tick
 *   end of the turn → brk_core_turn
 *   SIGTERM         → brk_core_drain, then brk_core_end
 *
 * Redis is not needed for calls: a broker starts without it, says so once, and says
 * so again when it is there. But one that could ask Redis and has not yet knows of no
 * service, and would tell its peers so: it listens when it has read the registry, or
 * found that there is no Redis, or has waited for 2 s.
 */
#ifndef BROKER_SHELL_H
#define BROKER_SHELL_H

#include "broker/settings.h"

/* Exit codes, as sysexits.h has them where it fits. */
enum brk_exit {
	BRK_EXIT_OK = 0,
	BRK_EXIT_USAGE = 2,        /* a wrong option: base/conf.h */
	BRK_EXIT_UNAVAILABLE = 69, /* the address to listen on is in use */
	BRK_EXIT_SOFTWARE = 70,    /* a bug, or no memory */
	BRK_EXIT_CONFIG = 78,      /* a setting that cannot work */
};

/* Runs until SIGTERM or SIGINT; what goes wrong is told in one line before it returns. */
enum brk_exit brk_shell_run(const struct brk_settings *settings);

#endif
