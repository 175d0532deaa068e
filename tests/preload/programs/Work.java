// SPDX-License-Identifier: MIT
// Java at work: threads, collections, direct buffers, compression.
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.zip.CRC32;
import java.util.zip.Deflater;

public class Work {
    static String work(int seed, int scale) {
        Map<String, List<Integer>> map = new HashMap<>();
        long state = seed;
        for (int i = 0; i < 20000 * scale; i++) {
            state = (state * 1103515245L + 12345) % (1L << 31);
            map.computeIfAbsent("key" + state % 977, k -> new ArrayList<>()).add(i);
        }
        CRC32 crc = new CRC32();
        map.keySet().stream().sorted().forEach(k -> crc.update((k + map.get(k)).getBytes()));
        for (int i = 1; i < 50; i++) {
            ByteBuffer buffer = ByteBuffer.allocateDirect(i * 4096);
            while (buffer.hasRemaining()) {
                buffer.put((byte) i);
            }
            Deflater deflater = new Deflater();
            byte[] out = new byte[i * 5000];
            deflater.setInput(new byte[i * 4096]);
            deflater.finish();
            crc.update(out, 0, deflater.deflate(out));
            deflater.end();
        }
        return seed + " " + map.size() + " " + Long.toHexString(crc.getValue());
    }

    public static void main(String[] args) throws Exception {
        int scale = Integer.parseInt(args[0]);
        ExecutorService pool = Executors.newFixedThreadPool(4);
        List<Future<String>> results = new ArrayList<>();
        for (int i = 0; i < 8; i++) {
            int seed = i;
            results.add(pool.submit(() -> work(seed, scale)));
        }
        for (Future<String> result : results) {
            System.out.println(result.get());
        }
        pool.shutdown();
    }
}
