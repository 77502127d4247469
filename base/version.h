/* The version of Pirn: what --version, HELLO and the pkg-config file say. */
#ifndef BASE_VERSION_H
#define BASE_VERSION_H

#define PIRN_VERSION "0.1.0"
#define PIRN_PROTOCOL_VERSION 1 /* of the wire: HELLO and WELCOME carry it */
/* Of what a broker of this version knows; WELCOME carries it. 1: timers' slots, events by type, TOGETHER,
 * callbacks, what runs send. */
#define PIRN_PROTOCOL_REVISION 1

#endif
