/* Taking the API's socket path, and leaving it. */
#include "tests/unit/api_fixture.h"

static void test_a_live_socket_is_left_alone(void **state)
{
	struct fixture *f = *state;
	struct error error = { "" };
	struct api *second = NULL;
	struct stat st;

	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	assert_int_equal(api_create(f->loop, f->vswitch, f->path, &second, &error), -EADDRINUSE);
	assert_null(second);
	assert_non_null(strstr(error.text, "another weftd"));
	expect_error(f, "{\"method\": \"none\"}", "there is no method");
}

static void test_stale_sockets_and_files(void **state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct fixture *f = *state;
	struct error error = { "" };
	struct api *api = NULL, *next = NULL;
	char path[96], long_path[200];
	int fd;

	/* A stale one is replaced. */
	snprintf(path, sizeof(path), "%s/stale", f->directory);
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	assert_int_equal(api_create(f->loop, f->vswitch, path, &api, &error), 0);
	/* When somebody has taken our place since, theirs stays. */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(api_create(f->loop, f->vswitch, path, &next, &error), 0);
	api_destroy(api);
	assert_int_equal(access(path, F_OK), 0);
	api_destroy(next);
	assert_int_equal(access(path, F_OK), -1);
	/* A file is not. */
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(api_create(f->loop, f->vswitch, path, &api, &error), -EEXIST);
	assert_non_null(strstr(error.text, "no socket"));
	assert_int_equal(unlink(path), 0);
	/* Too long, and in no directory. */
	memset(long_path, 'x', sizeof(long_path) - 1);
	long_path[sizeof(long_path) - 1] = '\0';
	assert_int_equal(api_create(f->loop, f->vswitch, long_path, &api, &error), -ENAMETOOLONG);
	assert_non_null(strstr(error.text, "199 characters; allowed: 1 to 107"));
	assert_int_equal(api_create(f->loop, f->vswitch, "/nonexistent/a/b", &api, &error),
			 -ENOENT);
	api_destroy(NULL);
}
int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_live_socket_is_left_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stale_sockets_and_files, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
