/* Settings on the command line ("--vlan 10", "vlan=10") as the YAML text the API takes. */
#ifndef WEFT_CLI_SETTINGS_H
#define WEFT_CLI_SETTINGS_H

/* The flow mapping {"KEY": VALUE, ...} of argv[0..argc), to be freed by the caller; NULL when they
 * are wrong, which has been said on stderr. With fd_key not NULL the setting of that name is taken
 * out and its number put in *fd, else *fd is -1. */
char *settings_to_yaml(int argc, char **argv, const char *fd_key, int *fd);

#endif
