/* libFuzzer target: any bytes as a configuration. What is taken must stand up to the same functions
 * a daemon would use on it. */
#include "vswitch/config.h"
#include "vswitch/config_diff.h"
#include "vswitch/config_forward.h"
#include "vswitch/gateway_config.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As a forward that a command adds, and as one it removes. */
static void fuzz_forward(const char *text)
{
	static const char base[] = "networks: { n: { mode: nat, ipv4: 10.1.0.1/24 } }";
	struct error error = { "" };
	struct config config;

	if (config_parse("base", base, sizeof(base) - 1, &config, &error) < 0)
		abort();
	if (config_add_forward(&config, "n", text, &error) == 0 &&
	    config_check(NULL, &config, &error) == 0) {
		char listen[CONFIG_LISTEN_TEXT_LENGTH];

		config_forward_listen(&config.networks[0].gateway->nat.forwards[0], listen);
		if (config_remove_forward(&config, "n", listen, NULL, &error) != 1)
			abort();
	}
	config_remove_forward(&config, "n", text, NULL, &error);
	config_clear(&config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config_change *changes = NULL;
	struct network_config network;
	struct port_config port;
	struct config config, copy, again;
	struct error error = { "" };
	bool has_uplink;
	uint32_t count;
	char *text;

	if (config_parse("fuzz", (const char *)data, size, &config, &error) == 0) {
		if (config_copy(&copy, &config) == 0) {
			if (config_diff(&config, &copy, &changes, &count) == 0 && count != 0)
				abort();
			free(changes);
			config_clear(&copy);
		}
		/* Of the same text the same comes, to the last byte of padding. */
		if (config_parse("fuzz", (const char *)data, size, &again, &error) < 0)
			abort();
		changes = NULL;
		if (config_diff(&config, &again, &changes, &count) == 0 && count != 0)
			abort();
		free(changes);
		config_clear(&again);
		if (config_check("fuzz", &config, &error) < 0)
			abort();
		config_clear(&config);
	} else if (error.text[0] == '\0' || memchr(error.text, '\0', sizeof(error.text)) == NULL) {
		abort();
	}
	text = strndup((const char *)data, size);
	if (text == NULL)
		return 0;
	config_parse_port("p", text, &port, &error);
	if (config_parse_network("n", text, &network, &port, &has_uplink, &error) == 0)
		network_config_clear(&network);
	fuzz_forward(text);
	free(text);
	return 0;
}
