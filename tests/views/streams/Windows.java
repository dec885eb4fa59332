import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KGroupedStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.SessionWindows;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.state.SessionStore;
import org.apache.kafka.streams.state.WindowStore;

/**
 * Counts records in windows, one topic after another, as any program of Kafka Streams would.
 *
 * Arguments: bootstrap, application id, state directory, file of cases, file for the rows. A case is a line of JSON:
 * topic, kind (hop or session), sizeMs (of a session: the gap), advanceMs, graceMs, leastTotal, records. A row is topic,
 * key, start, end and count, in milliseconds; the end of a session is the time of its last record.
 */
public class Windows {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Duration KEPT = Duration.ofDays(30);

    public static void main(String[] given) throws Exception {
        List<JsonNode> cases = new ArrayList<>();
        for (String line : Files.readAllLines(Path.of(given[3]))) cases.add(JSON.readTree(line));
        int expected = 0;
        for (JsonNode one : cases) expected += one.get("records").asInt();
        CountDownLatch all = new CountDownLatch(expected);
        Map<String, Long> rows = new ConcurrentHashMap<>();
        StreamsBuilder builder = new StreamsBuilder();
        for (JsonNode one : cases) add(builder, one, all, rows);

        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, given[1]);
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, given[0]);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, given[2]);
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0);
        settings.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        streams.start();
        boolean read = all.await(150, TimeUnit.SECONDS);
        streams.close();  // the record at hand is finished first
        if (!read) throw new IllegalStateException(all.getCount() + " records were not read");
        List<String> lines = new ArrayList<>();
        rows.forEach((place, count) -> lines.add(place + "\t" + count));
        Files.write(Path.of(given[4]), lines);
    }

    private static void add(StreamsBuilder builder, JsonNode one, CountDownLatch all, Map<String, Long> rows) {
        String topic = one.get("topic").asText();
        Duration size = Duration.ofMillis(one.get("sizeMs").asLong());
        Duration grace = Duration.ofMillis(one.get("graceMs").asLong());
        long least = one.get("leastTotal").asLong();
        KGroupedStream<String, byte[]> grouped = builder
            .stream(topic, Consumed.with(Serdes.String(), Serdes.ByteArray()))
            .peek((key, value) -> all.countDown())
            .filter((key, value) -> total(value) >= least)
            .groupByKey(Grouped.with(Serdes.String(), Serdes.ByteArray()));
        KTable<Windowed<String>, Long> counted;
        if (one.get("kind").asText().equals("session")) {
            counted = grouped.windowedBy(SessionWindows.ofInactivityGapAndGrace(size, grace))
                .count(Materialized.<String, Long, SessionStore<Bytes, byte[]>>with(Serdes.String(), Serdes.Long())
                    .withRetention(KEPT).withLoggingDisabled());
        } else {
            Duration advance = Duration.ofMillis(one.get("advanceMs").asLong());
            counted = grouped.windowedBy(TimeWindows.ofSizeAndGrace(size, grace).advanceBy(advance))
                .count(Materialized.<String, Long, WindowStore<Bytes, byte[]>>with(Serdes.String(), Serdes.Long())
                    .withRetention(KEPT).withLoggingDisabled());
        }
        counted.toStream().foreach((window, count) -> {
            String place = topic + "\t" + window.key() + "\t" + window.window().start() + "\t" + window.window().end();
            if (count == null) rows.remove(place);
            else rows.put(place, count);
        });
    }

    private static long total(byte[] value) {
        try {
            return JSON.readTree(value).get("total").asLong();
        } catch (java.io.IOException error) {
            throw new java.io.UncheckedIOException(error);
        }
    }
}
