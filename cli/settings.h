/* Settings on the command line ("--vlan 10", "vlan=10") as the YAML text the API takes. */
#ifndef WEFT_CLI_SETTINGS_H
#define WEFT_CLI_SETTINGS_H

#include "cli/request.h"

/* The flow mapping {"KEY": VALUE, ...} of argv[0..argc), to be freed by the caller; NULL when they
 * are wrong, which has been said on stderr. With fd_key not NULL the settings of that name, of
 * which there may be several, are taken out and their numbers put in *fds, which else has none. */
char *settings_to_yaml(int argc, char **argv, const char *fd_key, struct request_fds *fds);

#endif
