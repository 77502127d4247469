/* Telling whoever started us how we are: the protocol of sd_notify(3), which systemd,
 * other supervisors and `pirn up` understand. One datagram a word, to the unix socket
 * that $NOTIFY_SOCKET names: a path, or a name without a file when it begins with '@'.
 * Nothing is there to link against: the protocol is documented and promised to stay.
 *
 *   READY=1      what we are for can be had from now on
 *   STOPPING=1   we take nothing new and will end: start the next one now, if it is
 *                to stand in our place meanwhile. Who starts himself anew within the
 *                same process (execv) does not say it.
 *
 * Without the variable nothing happens. What cannot be sent is lost, and is no
 * reason to do anything else: a supervisor that hears nothing still sees us end.
 */
#ifndef NET_NOTIFY_H
#define NET_NOTIFY_H

#define NET_NOTIFY_VARIABLE "NOTIFY_SOCKET"

void net_notify_ready(void);
void net_notify_stopping(void);

#endif
