/* What `pirn up` says to people: progress, the block with three lines to paste, why
 * it failed. Nothing of it when the log is for machines (conf->quiet).
 */
#ifndef CLI_FABRIC_SHOW_H
#define CLI_FABRIC_SHOW_H

#include <sys/types.h>

#include "cli/fabric.h"

void cli_fabric_show_start(const struct cli_fabric_conf *conf);
void cli_fabric_show_group(const struct cli_fabric_conf *conf, enum cli_group group); /* it is ready */
void cli_fabric_show_ready(const struct cli_fabric_conf *conf);
void cli_fabric_show_stopping(const struct cli_fabric_conf *conf);
void cli_fabric_show_killed(const struct cli_fabric_conf *conf, const char *name, pid_t pid);
void cli_fabric_show_stopped(const struct cli_fabric_conf *conf, int status);

/* One line on stderr, always: who ended before all was up, with what wait status. */
void cli_fabric_show_culprit(const struct cli_fabric_conf *conf, const struct cli_child *child, int status);

#endif
