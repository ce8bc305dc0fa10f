/* The terminal as a page that is printed over and over, while keys are read. */
#ifndef WEFT_CLI_TERMINAL_H
#define WEFT_CLI_TERMINAL_H

#include <stdbool.h>

/* Takes standard output, and input if that is the terminal too, until terminal_close(); SIGINT,
 * SIGTERM and SIGHUP give it back and end the program with status 0. False when standard output is
 * no terminal: nothing is changed, and the other functions still work. */
bool terminal_open(void);
void terminal_close(void);

/* Begins a new page; where no terminal is open, with a blank line between two. Returns how many
 * lines have room. */
unsigned terminal_begin_page(void);

/* How many characters a line has room for. */
unsigned terminal_width(void);

/* Shows what was printed. */
void terminal_end_page(void);

/* Until `seconds` have passed since the last return (the first: since the call). True when q was
 * pressed. */
bool terminal_wait(double seconds);

#endif
