/* The one place that says which version this is. */
#ifndef BASE_VERSION_H
#define BASE_VERSION_H

#define PIRN_VERSION "0.1.0"
#define PIRN_PROTOCOL_VERSION 1

#endif
