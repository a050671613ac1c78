// Turns vitest's JSON report into the line that closes a test run.
import { readFileSync } from 'node:fs';

/**
 * `lines` end with `N passed, N failed` (`, N skipped` when some were). A test file that broke
 * outside its tests counts as one failure, and so does a run that failed without saying where.
 */
export function countTests({ resultsFile, exitCode, skipsFail }) {
  const files = readResults(resultsFile);
  const tests = files.flatMap((file) => file.assertionResults);
  const passed = tests.filter(({ status }) => status === 'passed').length;
  const failedTests = tests.filter(({ status }) => status === 'failed').length;
  const brokenFiles = files.filter(
    ({ status, assertionResults }) =>
      status === 'failed' && !assertionResults.some((test) => test.status === 'failed'),
  );
  const skipped = tests.filter(({ status }) => status !== 'passed' && status !== 'failed');

  const lines = brokenFiles.map(({ name }) => `FAILED outside its tests: ${name}`);
  let failed = failedTests + brokenFiles.length;
  if (skipsFail) {
    failed += skipped.length;
    lines.push(...skipped.map(({ fullName }) => `FAILED because it was skipped: ${fullName}`));
  }
  if (failed === 0 && (exitCode !== 0 || passed === 0)) {
    failed = 1;
    lines.push(passed === 0 ? 'FAILED: no test ran' : 'FAILED: the run broke outside the tests');
  }
  const skippedPart = skipped.length > 0 && !skipsFail ? `, ${skipped.length} skipped` : '';
  lines.push(`${passed} passed, ${failed} failed${skippedPart}`);
  return { lines, exitCode: failed > 0 ? exitCode || 1 : 0 };
}

function readResults(resultsFile) {
  try {
    return JSON.parse(readFileSync(resultsFile, 'utf8')).testResults;
  } catch {
    return [];
  }
}
