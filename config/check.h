/*
 * What no single key can tell: values that must fit each other.
 */
#ifndef GOJOBD_CONFIG_CHECK_H
#define GOJOBD_CONFIG_CHECK_H

#include "config/config.h"

/* On a violation writes the key's path ("listen[1]") and a message and returns -EINVAL.
 * Fills in what is derived: the tokens' hashes, from files beside the file called name. */
int check_config(struct config *cfg, const char *name, char key[192], char message[320]);

#endif
