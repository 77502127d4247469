/* From our errors and the wire's reasons to those of include/pirn/client.h. */
#ifndef CLIENT_ERRORS_H
#define CLIENT_ERRORS_H

#include "base/err.h"
#include "pirn/client.h"
#include "proto/pirn.pb-c.h"

enum pirn_client_err client_err_of_reason(enum _Pirn__Reason reason); /* UNTRUSTED: any number */
enum pirn_client_err client_err_of_base(enum base_err err);

#endif
