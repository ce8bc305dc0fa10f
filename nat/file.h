/* The file that sessions are kept in, mapped into memory: a header, then slots. Written by workers
 * as they go, so that it is right whenever the process ends; read once, by the next one. */
#ifndef WEFT_NAT_FILE_H
#define WEFT_NAT_FILE_H

#include "nat/rules.h"

/* Maps the slots: from the file at `path`, made if it is not there, or plain memory for NULL, and
 * when no file can be had. Sets the key of all hashes, and the outside addresses that a file tells
 * of. 0, -EBUSY (another translator has the file), -ENOMEM. */
int nat_file_open(struct nat *nat, const char *path, struct error *error);
void nat_file_close(struct nat *nat);

/* Memory for more slots; false when there is none. Accounts' lock. */
bool nat_file_extend(struct nat *nat);

/* Takes over the sessions in the slots; the others become free. Control, before anybody else. */
int nat_file_restore(struct nat *nat, const struct nat_rules *rules, uint32_t now);

/* An address gets or loses its index. 0 or -ENOMEM. Control. */
int nat_address_open(struct nat *nat, uint16_t index, const struct ip *ip);
void nat_address_close(struct nat *nat, uint16_t index);

#endif
