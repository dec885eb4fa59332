import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.Joined;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.StreamJoined;
import org.apache.kafka.streams.kstream.ValueJoiner;
import org.apache.kafka.streams.state.KeyValueStore;

/**
 * Joins topics by their keys, two after two, as any program of Kafka Streams would.
 *
 * Arguments: bootstrap, application id, state directory, file of cases, file for the rows. A case is a line of JSON:
 * name, kind (streams, lookup or tables), how (inner, left or outer), left and right (each with topic and field), and of
 * streams beforeMs, afterMs and graceMs; records: of both topics. A row is a line of JSON: the name of the case, key, and
 * the fields of both sides; of tables, the rows that are there in the end.
 */
public class Joins {
    private static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] given) throws Exception {
        List<JsonNode> cases = new ArrayList<>();
        for (String line : Files.readAllLines(Path.of(given[3]))) cases.add(JSON.readTree(line));
        int expected = 0;
        for (JsonNode one : cases) expected += one.get("records").asInt();
        CountDownLatch all = new CountDownLatch(expected);
        ConcurrentLinkedQueue<String> rows = new ConcurrentLinkedQueue<>();
        Map<String, String> inTheEnd = new ConcurrentHashMap<>();
        StreamsBuilder builder = new StreamsBuilder();
        for (JsonNode one : cases) add(builder, one, all, rows, inTheEnd);

        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, given[1]);
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, given[0]);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, given[2]);
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0);
        // Rows without a partner come with the first record after their time, and not once a second.
        settings.put(StreamsConfig.InternalConfig.EMIT_INTERVAL_MS_KSTREAMS_OUTER_JOIN_SPURIOUS_RESULTS_FIX, 0L);
        settings.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        streams.start();
        boolean read = all.await(150, TimeUnit.SECONDS);
        streams.close();  // the record at hand is finished first
        if (!read) throw new IllegalStateException(all.getCount() + " records were not read");
        rows.addAll(inTheEnd.values());
        Files.write(Path.of(given[4]), List.copyOf(rows), StandardCharsets.UTF_8);
    }

    private static void add(
        StreamsBuilder builder, JsonNode one, CountDownLatch all, ConcurrentLinkedQueue<String> rows,
        Map<String, String> inTheEnd
    ) {
        String name = one.get("name").asText();
        KStream<String, String> left = side(builder, one.get("left"), all);
        KStream<String, String> right = side(builder, one.get("right"), all);
        switch (one.get("kind").asText()) {
            case "streams" -> streams(one, left, right).foreach((key, pair) -> rows.add(row(name, key, pair)));
            case "lookup" -> lookup(one, left, table(right)).foreach((key, pair) -> rows.add(row(name, key, pair)));
            default -> tables(one, table(left), table(right)).toStream().foreach((key, pair) -> {
                if (pair == null) inTheEnd.remove(name + "\t" + key);
                else inTheEnd.put(name + "\t" + key, row(name, key, pair));
            });
        }
    }

    /** The texts of one field. */
    private static KStream<String, String> side(StreamsBuilder builder, JsonNode side, CountDownLatch all) {
        String field = side.get("field").asText();
        return builder
            .stream(side.get("topic").asText(), Consumed.with(Serdes.String(), Serdes.ByteArray()))
            .peek((key, value) -> all.countDown())
            .mapValues(value -> value == null ? null : read(value).get(field).asText());
    }

    private static KTable<String, String> table(KStream<String, String> changes) {
        return changes.toTable(Materialized.<String, String, KeyValueStore<Bytes, byte[]>>with(
            Serdes.String(), Serdes.String()).withLoggingDisabled());
    }

    private static KStream<String, String[]> streams(
        JsonNode one, KStream<String, String> left, KStream<String, String> right
    ) {
        Duration before = Duration.ofMillis(one.get("beforeMs").asLong());
        Duration after = Duration.ofMillis(one.get("afterMs").asLong());
        Duration grace = Duration.ofMillis(one.get("graceMs").asLong());
        JoinWindows near = JoinWindows.ofTimeDifferenceAndGrace(before, grace).before(before).after(after);
        StreamJoined<String, String, String> with = StreamJoined.with(
            Serdes.String(), Serdes.String(), Serdes.String()).withLoggingDisabled();
        ValueJoiner<String, String, String[]> pair = (a, b) -> new String[] {a, b};
        return switch (one.get("how").asText()) {
            case "inner" -> left.join(right, pair, near, with);
            case "left" -> left.leftJoin(right, pair, near, with);
            default -> left.outerJoin(right, pair, near, with);
        };
    }

    private static KStream<String, String[]> lookup(
        JsonNode one, KStream<String, String> left, KTable<String, String> right
    ) {
        ValueJoiner<String, String, String[]> pair = (a, b) -> new String[] {a, b};
        Joined<String, String, String> with = Joined.with(Serdes.String(), Serdes.String(), Serdes.String());
        return one.get("how").asText().equals("inner")
            ? left.join(right, pair, with) : left.leftJoin(right, pair, with);
    }

    private static KTable<String, String[]> tables(
        JsonNode one, KTable<String, String> left, KTable<String, String> right
    ) {
        ValueJoiner<String, String, String[]> pair = (a, b) -> new String[] {a, b};
        return switch (one.get("how").asText()) {
            case "inner" -> left.join(right, pair);
            case "left" -> left.leftJoin(right, pair);
            default -> left.outerJoin(right, pair);
        };
    }

    private static String row(String name, String key, String[] pair) {
        return JSON.createArrayNode().add(name).add(key).add(pair[0]).add(pair[1]).toString();
    }

    private static JsonNode read(byte[] value) {
        try {
            return JSON.readTree(value);
        } catch (java.io.IOException error) {
            throw new java.io.UncheckedIOException(error);
        }
    }
}
