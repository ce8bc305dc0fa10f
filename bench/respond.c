/* Question and answer over UDP: `bench-respond` answers on PORT whatever it is asked, until it is
 * killed; `bench-respond ADDRESS SECONDS` asks there, one question at a time, and prints how long
 * the answers took. Case response of bench.py runs one in each of two namespaces. */
#include "bench/cycles.h"
#include "bench/histogram.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#define PORT	 7777
#define QUESTION 32 /* bytes */

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void answer(int fd)
{
	struct sockaddr_in local = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	char bytes[QUESTION];

	if (bind(fd, (struct sockaddr *)&local, sizeof(local)) != 0)
		fail("bind");
	for (;;) {
		struct sockaddr_in from;
		socklen_t length = sizeof(from);
		ssize_t n =
		    recvfrom(fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&from, &length);

		if (n > 0)
			sendto(fd, bytes, (size_t)n, 0, (struct sockaddr *)&from, length);
	}
}

/* A question that is lost is asked again after a second, as another one. */
static uint64_t ask(int fd, double seconds, struct histogram *latency)
{
	uint64_t end = clock_ns() + (uint64_t)(seconds * 1e9), asked = 0;
	char bytes[QUESTION];

	while (clock_ns() < end) {
		uint64_t start = cycles_now(), number = asked++;
		ssize_t n;

		memcpy(bytes, &number, sizeof(number));
		if (send(fd, bytes, sizeof(bytes), 0) < 0)
			fail("send");
		n = recv(fd, bytes, sizeof(bytes), 0);
		if (n < 0 && errno != EAGAIN)
			fail("recv"); /* refused: nobody listens yet */
		if (n == sizeof(bytes) && memcmp(bytes, &number, sizeof(number)) == 0)
			histogram_add(latency, cycles_now() - start);
	}
	return asked;
}

int main(int argc, char **argv)
{
	static struct histogram latency;
	struct sockaddr_in peer = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	struct timeval patience = { .tv_sec = 1 };
	double us = 1e6 / cycles_per_second();
	uint64_t asked;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (fd < 0)
		fail("socket");
	if (argc == 1)
		answer(fd);
	if (argc != 3 || inet_pton(AF_INET, argv[1], &peer.sin_addr) != 1) {
		fprintf(stderr, "usage: bench-respond [ADDRESS SECONDS]\n");
		return 2;
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&peer, sizeof(peer)) != 0)
		fail("connect");
	asked = ask(fd, atof(argv[2]), &latency);
	if (latency.count == 0) {
		fprintf(stderr, "no answer to %lu questions\n", asked);
		return 1;
	}
	printf("{\"sent\": %lu, \"lost\": %lu, \"latency_us\": {\"p50\": %.3f, \"p90\": %.3f, "
	       "\"p99\": %.3f, \"p999\": %.3f}}\n",
	       asked, asked - latency.count, us * (double)histogram_percentile(&latency, 0.5),
	       us * (double)histogram_percentile(&latency, 0.9),
	       us * (double)histogram_percentile(&latency, 0.99),
	       us * (double)histogram_percentile(&latency, 0.999));
	return 0;
}
