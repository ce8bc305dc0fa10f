/* libFuzzer target: any bytes as a configuration. What is taken must stand up to the same functions
 * a daemon would use on it. */
#include "vswitch/config.h"
#include "vswitch/config_diff.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config_change *changes = NULL;
	struct network_config network;
	struct port_config port;
	struct config config, copy;
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
	config_parse_network("n", text, &network, &port, &has_uplink, &error);
	free(text);
	return 0;
}
