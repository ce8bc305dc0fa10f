/* Written in a commit to come. */
struct weft_empty;
