/* Plain ANSI sequences and termios (terminal.h). No other screen buffer is used: the last page, and
 * an error below it, can still be read afterwards. */
#include "cli/terminal.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

/* Lines are cut at the right border, not continued below: a page has the lines it was given. */
#define ENTER "\033[?25l\033[?7l\033[2J"
#define LEAVE "\033[?7h\033[?25h"
#define HOME  "\033[H\033[J"

/* Read by the signal handler, which is set up after them. */
static bool is_open, has_keys;
static struct termios saved;

static void give_back(void)
{
	if (has_keys)
		tcsetattr(STDIN_FILENO, TCSANOW, &saved);
	if (write(STDOUT_FILENO, LEAVE, strlen(LEAVE)) < 0)
		return; /* the terminal is gone */
}

/* Wherever the program is, waiting for weftd included. */
static void end_by_signal(int number)
{
	give_back();
	_exit(0);
}

bool terminal_open(void)
{
	struct sigaction action = { .sa_handler = end_by_signal };
	struct termios keys;

	if (!isatty(STDOUT_FILENO))
		return false;
	has_keys = tcgetattr(STDIN_FILENO, &saved) == 0;
	is_open = true;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	if (has_keys) {
		keys = saved;
		keys.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		keys.c_cc[VSUSP] = _POSIX_VDISABLE; /* the shell would get it as it is */
		keys.c_cc[VMIN] = 0;
		keys.c_cc[VTIME] = 0;
		tcsetattr(STDIN_FILENO, TCSANOW, &keys);
	}
	fputs(ENTER, stdout);
	return true;
}

void terminal_close(void)
{
	if (!is_open)
		return;
	fflush(stdout);
	give_back();
	is_open = has_keys = false;
}

static struct winsize terminal_size(void)
{
	struct winsize size = { 0 };

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0)
		return (struct winsize){ .ws_row = 24, .ws_col = 80 };
	return size;
}

unsigned terminal_width(void)
{
	return is_open ? terminal_size().ws_col : UINT_MAX;
}

unsigned terminal_begin_page(void)
{
	static bool first = true;

	if (!is_open) {
		if (!first)
			fputs("\n", stdout);
		first = false;
		return UINT_MAX;
	}
	fputs(HOME, stdout);
	return terminal_size().ws_row - 1u; /* the cursor stands in the line behind the last */
}

void terminal_end_page(void)
{
	fflush(stdout);
}

static double monotonic_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* False when nothing more will come from the keyboard. */
static bool read_keys(bool *quit)
{
	char keys[64];
	ssize_t n = read(STDIN_FILENO, keys, sizeof(keys));

	if (n > 0 && (memchr(keys, 'q', (size_t)n) != NULL || memchr(keys, 'Q', (size_t)n) != NULL))
		*quit = true;
	return n > 0;
}

bool terminal_wait(double seconds)
{
	static double last;
	struct pollfd keyboard = { .fd = has_keys ? STDIN_FILENO : -1, .events = POLLIN };
	double now = monotonic_seconds(), end;
	bool quit = false;

	/* From one end to the next, so that the time for requests and printing does not add up;
	 * what was missed is left out. */
	end = (last > 0 && last + seconds > now ? last : now) + seconds;
	while (!quit && now < end) {
		if (poll(&keyboard, 1, (int)(1000 * (end - now)) + 1) > 0 && !read_keys(&quit))
			keyboard.fd = -1;
		now = monotonic_seconds();
	}
	last = end;
	return quit;
}
