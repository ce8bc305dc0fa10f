/* The socket a device listens on: who may connect to it, and what is said when it cannot be made.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vhost-user/socket.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct place {
	struct event_base *loop;
	char directory[64];
	char path[96];
};

static int make_place(void **state)
{
	struct place *place = calloc(1, sizeof(*place));

	if (place == NULL)
		return -1;
	strcpy(place->directory, "/tmp/weft-socket-XXXXXX");
	place->loop = event_base_new();
	if (place->loop == NULL || mkdtemp(place->directory) == NULL)
		return -1;
	snprintf(place->path, sizeof(place->path), "%s/s", place->directory);
	*state = place;
	return 0;
}

static int drop_place(void **state)
{
	struct place *place = *state;

	event_base_free(place->loop);
	if (rmdir(place->directory) < 0) /* nothing is left behind */
		return -1;
	free(place);
	return 0;
}

static void on_connected(void *owner, int fd)
{
	close(fd);
}

static void open_socket(struct place *place, const struct vhost_device_config *config,
			struct vhost_socket **out, struct stat *status)
{
	struct vhost_device_config copy = *config;
	struct error error = { "" };

	copy.path = place->path;
	if (vhost_socket_create(place->loop, "p", &copy, on_connected, NULL, out, &error) < 0)
		fail_msg("%s", error.text);
	assert_int_equal(lstat(place->path, status), 0);
	assert_true(S_ISSOCK(status->st_mode));
}

static void test_permissions(void **state)
{
	static const uint16_t modes[] = { 0600, 0660, 0666, 0777 };
	mode_t mask = umask(077);
	struct place *place = *state;
	struct vhost_socket *listening;
	struct stat status;

	for (unsigned i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		const struct vhost_device_config config = { .socket_mode = modes[i] };

		open_socket(place, &config, &listening, &status);
		assert_int_equal(status.st_mode & 07777, modes[i]);
		vhost_socket_destroy(listening);
	}
	umask(027);
	open_socket(place, &(const struct vhost_device_config){ 0 }, &listening, &status);
	assert_int_equal(status.st_mode & 07777, 0750);
	vhost_socket_destroy(listening);
	umask(mask);
}

/* Any group for root, else one's own; and a refusal that leaves nothing behind. */
static void test_group(void **state)
{
	struct place *place = *state;
	struct vhost_device_config config = {
		.path = place->path,
		.socket_mode = 0660,
		.has_socket_group = true,
		.socket_group = geteuid() == 0 ? 12345 : getegid(),
	};
	struct error error = { "" };
	struct vhost_socket *listening;
	struct stat status;

	open_socket(place, &config, &listening, &status);
	assert_int_equal(status.st_gid, config.socket_group);
	assert_int_equal(status.st_uid, geteuid());
	assert_int_equal(status.st_mode & 07777, 0660);
	vhost_socket_destroy(listening);
	if (geteuid() == 0)
		return;
	config.socket_group = 0;
	assert_int_equal(
	    vhost_socket_create(place->loop, "p", &config, on_connected, NULL, &listening, &error),
	    -EPERM);
	assert_non_null(strstr(error.text, "to group 0"));
}

static void test_a_missing_directory_is_named(void **state)
{
	struct place *place = *state;
	struct vhost_device_config config = { .path = place->path };
	struct error error = { "" };
	struct vhost_socket *listening;
	char wanted[256];

	snprintf(place->path, sizeof(place->path), "%s/x/y/s", place->directory);
	assert_int_equal(
	    vhost_socket_create(place->loop, "p", &config, on_connected, NULL, &listening, &error),
	    -ENOENT);
	snprintf(wanted, sizeof(wanted),
		 "cannot listen on %s: there is no directory %s/x/y; make it first", place->path,
		 place->directory);
	assert_string_equal(error.text, wanted);
	snprintf(place->path, sizeof(place->path), "%s/x/s", "/dev/null");
	assert_int_equal(
	    vhost_socket_create(place->loop, "p", &config, on_connected, NULL, &listening, &error),
	    -ENOTDIR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_permissions, make_place, drop_place),
		cmocka_unit_test_setup_teardown(test_group, make_place, drop_place),
		cmocka_unit_test_setup_teardown(test_a_missing_directory_is_named, make_place,
						drop_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
